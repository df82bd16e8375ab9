package deploy

import (
	"bytes"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	ruleFile     = "prometheus/rules.yml"
	ruleManifest = "kubernetes/components/prometheusrule/prometheusrule.yaml"
)

// `make docs` sets it.
var update = flag.Bool("update", false, "write "+ruleManifest)

// asPrometheusRule has the operator take a file of Prometheus' rules, comments
// included: it is the spec.
func asPrometheusRule(rules []byte) []byte {
	out := []byte(`# deploy/` + ruleFile + ` for the Prometheus operator. Written by make docs: change that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: chunktide
spec:
`)
	for line := range bytes.Lines(rules) {
		if len(bytes.TrimSpace(line)) > 0 {
			out = append(out, "  "...)
		}
		out = append(out, line...)
	}
	return out
}

func TestThePrometheusRuleIsCurrent(t *testing.T) {
	want := asPrometheusRule(contents(t, ruleFile))
	if *update {
		if err := os.WriteFile(ruleManifest, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(contents(t, ruleManifest), want) {
		t.Errorf("%s is not what deploy/%s makes: run make docs", ruleManifest, ruleFile)
	}
}

// What reaches the cluster are the rules that Prometheus' own tests are run
// on, whatever was done to their text on the way.
func TestKubernetesHasTheRules(t *testing.T) {
	var want any
	if err := yaml.Unmarshal(contents(t, ruleFile), &want); err != nil {
		t.Fatal(err)
	}
	for _, overlay := range overlays {
		manifests := rendered(t, overlay)
		if !reflect.DeepEqual(ruleSpecs(t, manifests), []any{want}) {
			t.Errorf("%s: its PrometheusRule is not deploy/%s", overlay, ruleFile)
		}
		// Controls: what would be another alert, and none at all.
		for _, change := range [][2]string{
			{"kind: PrometheusRule", "kind: PodMonitor"},
			{"ChunktideNoWorkers", "ChunktideFewWorkers"},
			{"for: 10m", "for: 11m"},
			{"severity: critical", "severity: warning"},
			{"> 14.4 * 0.01", "> 14.4 * 0.02"},
		} {
			bad := strings.Replace(string(manifests), change[0], change[1], 1)
			if bad == string(manifests) {
				t.Errorf("%s: %q is not there", overlay, change[0])
			} else if reflect.DeepEqual(ruleSpecs(t, []byte(bad)), []any{want}) {
				t.Errorf("%s: %q instead of %q went unseen", overlay, change[1], change[0])
			}
		}
	}
}

func contents(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ruleSpecs are the specs of all the PrometheusRules in manifests.
func ruleSpecs(t *testing.T, manifests []byte) (specs []any) {
	t.Helper()
	for _, tree := range documents(t, manifests) {
		if o, ok := tree.(map[string]any); ok && o["kind"] == "PrometheusRule" {
			specs = append(specs, o["spec"])
		}
	}
	return specs
}

// unscraped are the workloads without a port that a PodMonitor names: every
// program of ours has metrics, and its alerts are silent without them.
func unscraped(all []object) (names []string) {
	var scraped []string
	for _, monitor := range ofKind(all, "PodMonitor") {
		for _, e := range monitor.Spec.PodMetricsEndpoints {
			scraped = append(scraped, e.Port)
		}
	}
	for _, workload := range ofKind(all, "Deployment") {
		for _, c := range workload.Spec.Template.Spec.Containers {
			if !slices.ContainsFunc(c.Ports, func(p struct{ Name string }) bool { return slices.Contains(scraped, p.Name) }) {
				names = append(names, workload.Metadata.Name)
			}
		}
	}
	return names
}

func TestKubernetesScrapesEveryProgram(t *testing.T) {
	needsKubernetesTools(t)
	for _, overlay := range overlays {
		if left := unscraped(objects(t, overlay)); len(left) > 0 {
			t.Errorf("%s: no PodMonitor scrapes %v", overlay, left)
		}
	}
	// The control: without the second port the encoder's service is missed.
	all := objects(t, "encoder")
	for _, monitor := range ofKind(all, "PodMonitor") {
		clear(monitor.Spec.PodMetricsEndpoints[1:])
	}
	if left := unscraped(all); !reflect.DeepEqual(left, []string{"chunktide-encoder"}) {
		t.Errorf("without the port of the encoder's service, %v are found to be missed", left)
	}
}
