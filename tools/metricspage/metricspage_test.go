package metricspage

import (
	"reflect"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	want := []Family{
		{Name: "chunktide_a_total", Type: "counter", Labels: []Label{{Name: "topic"}, {"result", []string{"error", "ok"}}}, Programs: []string{"run", "index verify --watch"}, Help: "One | two."},
		{Name: "chunktide_b_seconds", Type: "histogram", Programs: []string{"serve"}, Help: "More."},
	}
	got, err := Parse(Render([]Family{want[1], want[0]}))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := Parse([]byte("| `chunktide_a` | summary | | | |\n")); err == nil {
		t.Error("a row that nobody wrote is read as nothing")
	}
}

func TestThePageCanBeRead(t *testing.T) {
	t.Parallel()
	families, err := Load("../..")
	if err != nil || len(families) < 40 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}
