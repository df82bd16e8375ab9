package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"chunktide/cmd/worker"
	"chunktide/configs"
)

const kubernetesTools = "../.cache/kubernetes/"

var overlays = []string{"cpu", "gpu", "encoder"}

// rendered is an overlay as kubectl apply -k would send it.
func rendered(t *testing.T, overlay string) []byte {
	t.Helper()
	needsKubernetesTools(t)
	return kubernetesTool(t, nil, "kustomize", "build", filepath.Join("kubernetes/overlays", overlay))
}

func needsKubernetesTools(t *testing.T) {
	t.Helper()
	if testing.Short() || os.Getenv("CHUNKTIDE_TEST_REAL") == "0" {
		t.Skip("-short and CHUNKTIDE_TEST_REAL=0 leave out what needs kustomize and kubeconform")
	}
	if _, err := os.Stat(kubernetesTools + "bin/kustomize"); err != nil {
		t.Fatal("kustomize and kubeconform are missing: make setup-kubernetes")
	}
}

func kubernetesTool(t *testing.T, in []byte, name string, args ...string) []byte {
	t.Helper()
	out, err := runTool(t.Context(), in, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func runTool(ctx context.Context, in []byte, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, kubernetesTools+"bin/"+name, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %v: %w\n%s%s", name, args, err, &out, &errs)
	}
	return out.Bytes(), nil
}

// schemas are those of the oldest Kubernetes that is promised and of the
// newest known.
func schemas(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(kubernetesTools + "schemas/v*")
	if err != nil || len(found) < 2 {
		t.Fatalf("schemas: %v, %v", found, err)
	}
	return found
}

// fits checks manifests against the schemas, which refuse unknown fields.
func fits(t *testing.T, manifests []byte, version string) error {
	t.Helper()
	_, err := runTool(t.Context(), manifests, "kubeconform", "-strict",
		"-schema-location", version+"/{{.ResourceKind}}{{.KindSuffix}}.json",
		"-schema-location", kubernetesTools+"schemas/custom/{{.Group}}_{{.ResourceKind}}_{{.ResourceAPIVersion}}.json", "-")
	return err
}

func TestKubernetesManifestsFitTheirSchemas(t *testing.T) {
	for _, overlay := range overlays {
		manifests := rendered(t, overlay)
		for _, version := range schemas(t) {
			if err := fits(t, manifests, version); err != nil {
				t.Errorf("%s, %s: %v", overlay, version, err)
			}
		}
	}
}

// The control: what the check is there for, it finds.
func TestTheSchemaCheckFindsMistakes(t *testing.T) {
	good := string(rendered(t, "cpu"))
	for mistake, change := range map[string][2]string{
		"an unknown field":           {"terminationGracePeriodSeconds: 60", "terminationGraceSeconds: 60"},
		"a wrong type":               {"containerPort: 9470", "containerPort: admin"},
		"an unknown kind":            {"kind: NetworkPolicy", "kind: NetPolicy"},
		"an unknown field of KEDA's": {"maxReplicaCount: 12", "maxReplicas: 12"},
		"one of the operator's":      {"podMetricsEndpoints:", "podMetricEndpoints:"},
		"a field that is missing":    {"containerPort: 9470", "hostPort: 9470"},
		"an unknown field of a rule": {"- alert: ChunktideNoWorkers", "- alarm: ChunktideNoWorkers"},
		"a rule's time that is none": {"for: 10m", "for: ten minutes"},
		"a rule's label of no text":  {"severity: critical", "severity: 1"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: %q is not there", mistake, change[0])
		} else if fits(t, []byte(bad), schemas(t)[0]) == nil {
			t.Errorf("%s was not found", mistake)
		}
	}
}

// object is a resource, as far as the tests look into it.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Replicas *int
		Strategy struct{ Type string }
		Template struct{ Spec pod }
		Selector struct{ MatchLabels map[string]string }
		// KEDA's
		ScaleTargetRef  struct{ Name string }
		MaxReplicaCount int
		Triggers        []struct {
			Type     string
			Metadata map[string]string
		}
		// The Prometheus operator's
		PodMetricsEndpoints []struct{ Port string }
	}
}

type pod struct {
	AutomountServiceAccountToken  *bool
	TerminationGracePeriodSeconds int
	SecurityContext               struct {
		RunAsNonRoot   bool
		SeccompProfile struct{ Type string }
	}
	Containers []container
}

type container struct {
	Name, Image string
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct {
				Name, Key string
				Optional  bool
			}
		}
	}
	Ports     []struct{ Name string }
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } }
	}
	StartupProbe, LivenessProbe, ReadinessProbe struct{ HTTPGet struct{ Path string } }
	Resources                                   struct{ Limits map[string]string }
	SecurityContext                             struct {
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Capabilities             struct{ Drop []string }
	}
}

// objects parses manifests. JSON finds fields whatever the case of their
// letters, so that they need no tags.
func objects(t *testing.T, overlay string) []object {
	t.Helper()
	var all []object
	for _, tree := range documents(t, rendered(t, overlay)) {
		text, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var o object
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		all = append(all, o)
	}
	return all
}

// documents parses manifests, each as it is.
func documents(t *testing.T, manifests []byte) (all []any) {
	t.Helper()
	for in := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var tree any
		if err := in.Decode(&tree); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, tree)
	}
}

func ofKind(all []object, kind string) []object {
	return slices.DeleteFunc(slices.Clone(all), func(o object) bool { return o.Kind != kind })
}

// settings are what a container starts with.
func (c container) settings(t *testing.T, all []object) configs.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "chunktide.yaml")
	for _, o := range ofKind(all, "ConfigMap") {
		if err := os.WriteFile(file, []byte(o.Data["chunktide.yaml"]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var environ []string
	for _, e := range c.Env {
		value := e.Value
		if ref := e.ValueFrom.SecretKeyRef; ref.Key != "" && !ref.Optional {
			value = "from the Secret " + ref.Name
		}
		environ = append(environ, e.Name+"="+value)
	}
	cfg, err := configs.Load(file, nil, environ)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return cfg
}

// A setting that is unknown or refused would stop the container at its start.
func TestKubernetesSettingsWork(t *testing.T) {
	for _, overlay := range overlays {
		all := objects(t, overlay)
		for _, d := range ofKind(all, "Deployment") {
			for _, c := range d.Spec.Template.Spec.Containers {
				sections := configs.Worker()
				if c.Args[0] == "serve" {
					sections = []configs.Section{configs.Embedder, configs.Serve, configs.Qdrant}
				}
				cfg := c.settings(t, all)
				if err := cfg.Validate(sections...); err != nil {
					t.Errorf("%s, %s:\n%s", overlay, d.Metadata.Name, configs.Problems(err))
				}
				if limit := mebibytes(t, c.Resources.Limits["memory"]); c.Args[0] == "run" && int(cfg.Limits.Memory>>20) > limit*4/5 {
					t.Errorf("%s: limits.memory %s leaves the kernel's limit of %d MiB too little", overlay, cfg.Limits.Memory, limit)
				}
			}
		}
	}
}

func mebibytes(t *testing.T, quantity string) int {
	t.Helper()
	var n int
	var unit string
	if _, err := fmt.Sscanf(quantity, "%d%s", &n, &unit); err != nil {
		t.Fatalf("memory %q: %v", quantity, err)
	}
	return n * map[string]int{"Mi": 1, "Gi": 1024}[unit]
}

// A pod that is killed while it drains leaves its partitions waiting.
func TestKubernetesLetsTheWorkDrain(t *testing.T) {
	for _, overlay := range overlays {
		all := objects(t, overlay)
		for _, d := range ofKind(all, "Deployment") {
			p := d.Spec.Template.Spec
			c := p.Containers[0]
			cfg := c.settings(t, all)
			needs := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds) * time.Second
			switch c.Args[0] {
			case "run":
				needs += cfg.Pipeline.DrainTimeout + worker.CloseTimeout
			case "serve":
				needs += cfg.Serve.DrainTimeout
			}
			if grace := time.Duration(p.TerminationGracePeriodSeconds) * time.Second; grace <= needs {
				t.Errorf("%s, %s: is killed after %s, and may need %s", overlay, d.Metadata.Name, grace, needs)
			}
		}
	}
}

func TestKubernetesPodsHaveNoRights(t *testing.T) {
	for _, overlay := range overlays {
		all := objects(t, overlay)
		var budgets []map[string]string
		for _, o := range ofKind(all, "PodDisruptionBudget") {
			budgets = append(budgets, o.Spec.Selector.MatchLabels)
		}
		for _, d := range ofKind(all, "Deployment") {
			p := d.Spec.Template.Spec
			c := p.Containers[0]
			if !p.SecurityContext.RunAsNonRoot || p.SecurityContext.SeccompProfile.Type != "RuntimeDefault" ||
				p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
				t.Errorf("%s, %s: a pod runs as no root, under seccomp, without a token of the API server", overlay, d.Metadata.Name)
			}
			s := c.SecurityContext
			if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
				t.Errorf("%s, %s: a container has a read-only root and no capabilities", overlay, d.Metadata.Name)
			}
			alone := d.Spec.Strategy.Type == "Recreate"
			if covered := slices.ContainsFunc(budgets, func(b map[string]string) bool { return maps.Equal(b, d.Spec.Selector.MatchLabels) }); covered == alone {
				t.Errorf("%s, %s: a disruption budget is for what has more than one replica", overlay, d.Metadata.Name)
			}
			healthy := map[string]string{"serve": "/health"}[c.Args[0]]
			if healthy == "" {
				healthy = "/healthz"
			}
			if c.StartupProbe.HTTPGet.Path != healthy || c.LivenessProbe.HTTPGet.Path != healthy {
				t.Errorf("%s, %s: is probed at %q and %q", overlay, d.Metadata.Name, c.StartupProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path)
			}
			if c.Args[0] == "run" && c.ReadinessProbe.HTTPGet.Path != "/readyz" {
				t.Errorf("%s, %s: ready by %q", overlay, d.Metadata.Name, c.ReadinessProbe.HTTPGet.Path)
			}
		}
	}
}

// KEDA follows the worker's own metrics and its topic, up to its partitions.
func TestKEDAScalesTheWorker(t *testing.T) {
	exported, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, overlay := range overlays {
		all := objects(t, overlay)
		var cfg configs.Config
		for _, d := range ofKind(all, "Deployment") {
			if d.Metadata.Name == "chunktide-worker" {
				cfg = d.Spec.Template.Spec.Containers[0].settings(t, all)
				if d.Spec.Replicas != nil {
					t.Errorf("%s: the manifest sets replicas and undoes KEDA's at each apply", overlay)
				}
			}
		}
		for _, o := range ofKind(all, "ScaledObject") {
			if o.Spec.ScaleTargetRef.Name != "chunktide-worker" || o.Spec.MaxReplicaCount != int(cfg.Kafka.CreateTopics.Partitions) {
				t.Errorf("%s: scales %s to %d, with %d partitions", overlay, o.Spec.ScaleTargetRef.Name, o.Spec.MaxReplicaCount, cfg.Kafka.CreateTopics.Partitions)
			}
			for _, trigger := range o.Spec.Triggers {
				switch m := trigger.Metadata; trigger.Type {
				case "prometheus":
					for _, name := range metricName.FindAllString(m["query"], -1) {
						if !bytes.Contains(exported, []byte("`"+name+"`")) {
							t.Errorf("%s: no metric is called %s", overlay, name)
						}
					}
				case "kafka":
					if m["consumerGroup"] != cfg.Kafka.Group || m["topic"] != cfg.Kafka.Topics[0] || m["bootstrapServers"] != cfg.Kafka.Brokers[0] || m["allowIdleConsumers"] != "false" {
						t.Errorf("%s: the lag of another group: %v", overlay, m)
					}
				}
			}
			if len(o.Spec.Triggers) != 2 {
				t.Errorf("%s: %d triggers, want drain time and lag", overlay, len(o.Spec.Triggers))
			}
		}
	}
}

var metricName = regexp.MustCompile(`\bchunktide_[a-z_]+`)

func TestGPUOverlayAsksForOne(t *testing.T) {
	for _, overlay := range overlays {
		for _, d := range ofKind(objects(t, overlay), "Deployment") {
			c := d.Spec.Template.Spec.Containers[0]
			_, gpu := c.Resources.Limits["nvidia.com/gpu"]
			if want := overlay == "gpu" && c.Args[0] == "run"; gpu != want || strings.HasSuffix(c.Image, "-cuda") != want {
				t.Errorf("%s, %s: image %s, limits %v", overlay, d.Metadata.Name, c.Image, c.Resources.Limits)
			}
		}
	}
}

// Each command line is one that the program knows.
func TestKubernetesCommandsExist(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "chunktide")
	for _, overlay := range overlays {
		for _, d := range ofKind(objects(t, overlay), "Deployment") {
			if _, err := os.Stat(bin); err != nil {
				if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/chunktide").CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			args := append(slices.Clone(d.Spec.Template.Spec.Containers[0].Args), "--help")
			if out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput(); err != nil || !strings.Contains(string(out), "Usage:\n  chunktide "+args[0]) {
				t.Errorf("chunktide %v: %v\n%s", args, err, out)
			}
		}
	}
}
