package docs

import (
	"bytes"
	"testing"

	"chunktide/chunk"
	"chunktide/configs"
)

// What the walk-through shows is what make test-cdc runs.
func TestTheWalkThroughShowsTheFiles(t *testing.T) {
	page := read(t, "CDC.md")
	for name, kind := range map[string]string{
		"table.sql": "sql", "connect.properties": "properties", "debezium.properties": "properties", "chunktide.yaml": "yaml",
	} {
		block := "```" + kind + "\n" + string(read(t, "../deploy/cdc/"+name)) + "```\n"
		if !bytes.Contains(page, []byte(block)) {
			t.Errorf("CDC.md does not show deploy/cdc/%s as it is", name)
		}
	}
	cfg, err := configs.Load("../deploy/cdc/chunktide.yaml", nil, nil)
	if err == nil {
		err = cfg.Validate(configs.Worker()...)
	}
	if err != nil || cfg.Events.Versions != chunk.VersionsRequired {
		t.Errorf("deploy/cdc/chunktide.yaml: %v, %+v", err, cfg.Events)
	}
}
