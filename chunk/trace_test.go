package chunk

import (
	"strings"
	"testing"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParseTrace(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		parent: parent,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00":      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":      parent, // a version to come
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": parent,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more":  "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more": "",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":      "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01":      "",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x":      "",
		"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01":      "",
		"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01":      "",
		"00-0af76519-6cd43dd8448eb211c80319c-b7ad6b7169203331-01":      "",
		"":                                 "",
		parent + strings.Repeat(" ", 1000): "",
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" + strings.Repeat("x", longestTrace): "",
	} {
		got, ok := ParseTrace(value)
		if got.String() != want || ok != (want != "") || got.Sampled() != strings.HasSuffix(want, "-01") {
			t.Errorf("%.80q is %q, %v; want %q", value, got, ok, want)
		}
	}
}

func TestTraceOfARecord(t *testing.T) {
	t.Parallel()
	const (
		native = `{"op":"upsert","document_id":"d","chunk_id":"c","text":"x","version":1}`
		other  = "00-11111111111111111111111111111111-2222222222222222-00"
	)
	header := func(key, value string) Header { return Header{Key: key, Value: []byte(value)} }
	structured := `{"specversion":"1.0","traceparent":"` + other + `","data":` + native + `}`
	binary := []Header{header("ce_specversion", "1.0"), header("ce_traceparent", other)}
	for name, c := range map[string]struct {
		value   string
		headers []Header
		want    string
	}{
		"none":                    {native, nil, ""},
		"header":                  {native, []Header{header("traceparent", parent)}, parent},
		"the last of two":         {native, []Header{header("traceparent", parent), header("traceparent", other)}, other},
		"a bad one":               {native, []Header{header("traceparent", "nonsense")}, ""},
		"a huge one":              {native, []Header{header("traceparent", strings.Repeat("x", 1<<20))}, ""},
		"structured CloudEvent":   {structured, nil, other},
		"binary CloudEvent":       {native, binary, other},
		"header and CloudEvent":   {structured, []Header{header("traceparent", parent)}, parent},
		"CloudEvent with another": {`{"specversion":"1.0","traceparent":7,"data":` + native + `}`, nil, ""},
	} {
		d, err := NewDecoder(DefaultDecoderConfig())
		if err != nil {
			t.Fatal(err)
		}
		events, err := d.Decode(Record{Origin: Origin{Topic: "t"}, Value: []byte(c.value), Headers: c.headers})
		if err != nil || len(events) != 1 || events[0].Trace.String() != c.want {
			t.Errorf("%s: %v, %v; want the trace %q", name, events, err, c.want)
		}
	}
}

// Whatever a header holds, the event is read as without it, and what is taken
// for a trace is one.
func FuzzParseTrace(f *testing.F) {
	for _, seed := range []string{parent, "", "00-", "cc" + parent[2:] + "-x", strings.ToUpper(parent), strings.Repeat("0", traceLength)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		trace, ok := ParseTrace(value)
		if ok != trace.Valid() || !ok && trace != (Trace{}) {
			t.Fatalf("%q is %+v, %v", value, trace, ok)
		}
		if !ok {
			return
		}
		again, ok := ParseTrace(trace.String())
		if !ok || again != trace || trace.String()[3:] != value[3:traceLength] {
			t.Fatalf("%q is written as %q", value, trace)
		}
	})
}
