// Package deploy tests the deployment files. No container engine is needed.
package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"chunktide/configs"
)

func load(t *testing.T, files ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("%v do not load as a Compose project: %v", files, err)
	}
	return project
}

func projects(t *testing.T) map[string]*types.Project {
	return map[string]*types.Project{
		"cpu":  load(t, "../docker-compose.yml"),
		"cuda": load(t, "../docker-compose.yml", "compose.cuda.yml"),
	}
}

func TestComposeIsWhole(t *testing.T) {
	for name, project := range projects(t) {
		t.Run(name, func(t *testing.T) {
			for _, service := range []string{"kafka", "redis", "qdrant", "worker"} {
				s, err := project.GetService(service)
				if err != nil {
					t.Errorf("no service %s: %v", service, err)
					continue
				}
				if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 {
					t.Errorf("%s has no health check", service)
				}
				if service != "worker" && (!strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest")) {
					t.Errorf("%s: image %q is not pinned", service, s.Image)
				}
				if service != "worker" && len(s.Volumes) == 0 {
					t.Errorf("%s keeps its data in no volume", service)
				}
				for _, p := range s.Ports {
					if p.HostIP != "127.0.0.1" {
						t.Errorf("%s publishes port %s on %q: it has no password", service, p.Published, p.HostIP)
					}
				}
			}
			if q, _ := project.GetService("qdrant"); q.Image != "qdrant/qdrant:v1.18.3" {
				t.Errorf("qdrant is %s, the release is accepted on v1.18.3", q.Image)
			}
			worker, _ := project.GetService("worker")
			for _, needed := range []string{"kafka", "redis", "qdrant"} {
				if worker.DependsOn[needed].Condition != types.ServiceConditionHealthy {
					t.Errorf("the worker does not wait for a healthy %s", needed)
				}
			}
			if _, err := os.Stat(filepath.Join(worker.Build.Context, worker.Build.Dockerfile)); err != nil {
				t.Errorf("the worker's Dockerfile: %v", err)
			}
		})
	}
}

// A variable that is no setting would stop the worker at its start.
func TestComposeSettingsWork(t *testing.T) {
	for name, project := range projects(t) {
		worker, err := project.GetService("worker")
		if err != nil {
			t.Fatal(err)
		}
		var environ []string
		for key, value := range worker.Environment {
			environ = append(environ, key+"="+*value)
		}
		cfg, err := configs.Load("", nil, environ)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The model's files are in the image, not here.
		if err := cfg.Validate(configs.Kafka, configs.Events, configs.Cache, configs.Qdrant, configs.Pipeline, configs.AdminAPI); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if grace := *worker.StopGracePeriod; cfg.Pipeline.DrainTimeout >= time.Duration(grace) {
			t.Errorf("%s: stop_grace_period %v is not longer than the drain (%s)", name, grace, cfg.Pipeline.DrainTimeout)
		}
	}
}
