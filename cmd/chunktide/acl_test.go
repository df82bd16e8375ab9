package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"chunktide/chunk"
	"chunktide/consumer"
	"chunktide/devstack/qdrantd"
	"chunktide/devstack/realservers"
)

// right is one that SECURITY.md names.
type right struct {
	operation kmsg.ACLOperation
	kind      kmsg.ACLResourceType
	name      string
}

func (r right) String() string { return fmt.Sprint(r.operation, " on ", r.kind, " ", r.name) }

func (r right) acls() *kadm.ACLBuilder {
	b := kadm.NewACLs().Allow("User:worker").AllowHosts().Operations(r.operation).ResourcePatternType(kadm.ACLPatternLiteral)
	switch r.kind {
	case kmsg.ACLResourceTypeTopic:
		return b.Topics(r.name)
	case kmsg.ACLResourceTypeGroup:
		return b.Groups(r.name)
	default:
		return b.TransactionalIDs(r.name)
	}
}

// guardedKafka is a broker that lets the user worker do what it has a right
// to. Who comes by Addr may do everything, and gives the rights.
type guardedKafka struct {
	t       *testing.T
	admin   *kadm.Client
	client  *kgo.Client
	address string
}

func newGuardedKafka(t *testing.T) *guardedKafka {
	t.Helper()
	// The broker has to know beforehand where its clients will come by.
	way, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broker := realservers.RunKafka(t, realservers.KafkaOptions{Advertise: []string{way.Addr().String()}, Properties: map[string]string{
		"listener.security.protocol.map":              "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXY0:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms":                     "PLAIN",
		"listener.name.proxy0.plain.sasl.jaas.config": `org.apache.kafka.common.security.plain.PlainLoginModule required user_worker="secret";`,
		"authorizer.class.name":                       "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                 "User:ANONYMOUS",
	}})
	forward(t, way, broker.Listeners[0])
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &guardedKafka{t: t, admin: kadm.NewClient(client), client: client, address: way.Addr().String()}
}

// forward takes what comes by a listener to an address, until the test ends.
func forward(t *testing.T, way net.Listener, to string) {
	var mu sync.Mutex
	var conns []net.Conn
	var running sync.WaitGroup
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	t.Cleanup(func() {
		way.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			near, err := way.Accept()
			if err != nil {
				return
			}
			keep(near)
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			keep(far)
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
}

func (k *guardedKafka) grant(rights []right) {
	k.t.Helper()
	for _, r := range rights {
		results, err := k.admin.CreateACLs(k.t.Context(), r.acls())
		for _, result := range results {
			if err == nil {
				err = result.Err
			}
		}
		if err != nil {
			k.t.Fatalf("grant %s: %v", r, err)
		}
	}
}

func (k *guardedKafka) revoke(r right) {
	k.t.Helper()
	results, err := k.admin.DeleteACLs(k.t.Context(), r.acls())
	if err != nil || len(results) != 1 || len(results[0].Deleted) != 1 {
		k.t.Fatalf("revoke %s: %v, %+v", r, err, results)
	}
}

// The rights that SECURITY.md names are enough for the worker and for a
// redrive, and none of them can be spared.
func TestTheLeastRightsOnKafka(t *testing.T) {
	k := newGuardedKafka(t)
	index, err := qdrantd.Start(qdrantd.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(index.Close)
	const topic, letters = "chunks", "chunks.dead-letters"
	for _, name := range []string{topic, letters} {
		if _, err := k.admin.CreateTopic(t.Context(), 1, 1, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	settings := []string{
		"kafka.brokers=" + k.address, "kafka.topics=" + topic, "kafka.group=g", "kafka.stop_at_end=true", "kafka.session_timeout=6s", "kafka.heartbeat=500ms",
		"kafka.sasl.mechanism=plain", "kafka.sasl.username=worker", "kafka.sasl.password=secret",
		"embedder.encoder=bow", "qdrant.address=" + index.Addr(), "admin.address=",
	}
	id := 0
	// done runs a command after a good and a malformed event were published, and
	// a letter that can be redriven.
	done := func(args ...string) (bool, string) {
		t.Helper()
		id++
		good := fmt.Appendf(nil, `{"op":"upsert","document_id":"d","chunk_id":"c","text":"text %d","version":%d}`, id, id)
		letter := &kgo.Record{Topic: letters, Value: good}
		for _, h := range [][2]string{
			{consumer.HeaderTopic, topic}, {consumer.HeaderPartition, "0"}, {consumer.HeaderOffset, fmt.Sprint(2*id - 2)}, {consumer.HeaderStage, "index"},
			{consumer.HeaderReason, string(chunk.ReasonIndexRefused)}, {consumer.HeaderMessage, "refused"}, {consumer.HeaderTimestamp, "1700000000000"},
		} {
			letter.Headers = append(letter.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
		records := []*kgo.Record{{Topic: topic, Value: good}, {Topic: topic, Value: []byte("malformed")}, letter}
		if err := k.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var out strings.Builder
		code := run(ctx, withSettings(settings, args...), &app{io: stdio{strings.NewReader(""), &out, &out}})
		return code == exitDone, out.String()
	}
	worker := []right{
		{kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, topic}, {kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, "g"},
		{kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, letters},
	}
	redrive := []right{
		{kmsg.ACLOperationRead, kmsg.ACLResourceTypeTopic, letters}, {kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, letters},
		{kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTopic, topic},
		{kmsg.ACLOperationWrite, kmsg.ACLResourceTypeTransactionalId, "chunktide-redrive-" + letters},
	}
	for name, tt := range map[string]struct {
		args   []string
		rights []right
	}{
		"run":         {[]string{"run"}, worker},
		"dlq redrive": {[]string{"dlq", "redrive", "--reason", string(chunk.ReasonIndexRefused), "--yes"}, redrive},
	} {
		k.grant(tt.rights)
		if ok, said := done(tt.args...); !ok {
			t.Errorf("%s needs more than %v: %s", name, tt.rights, said)
		}
		for _, r := range tt.rights {
			k.revoke(r)
			if ok, said := done(tt.args...); ok {
				t.Errorf("%s does not need %s: %s", name, r, said)
			} else if strings.Contains(said, "secret") {
				t.Errorf("%s without %s tells the password: %s", name, r, said)
			}
			k.grant([]right{r})
		}
		for _, r := range tt.rights {
			k.revoke(r)
		}
	}
}
