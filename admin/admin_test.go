package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAdminPort(t *testing.T) {
	var health, ready error
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "chunktide_test_gauge", Help: "x"}))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	addr, err := Serve(ctx, Config{Address: "127.0.0.1:0"}, Options{
		Metrics: reg, Health: func() error { return health }, Ready: func() error { return ready },
		Routes: map[string]http.Handler{"GET /more": http.RedirectHandler("/metrics", http.StatusSeeOther)},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		resp, err := http.Get("http://" + addr.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if code, body := get("/more"); code != http.StatusOK || !strings.Contains(body, "chunktide_test_gauge 0") {
		t.Errorf("/more: %d %s", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "chunktide_test_gauge 0") {
		t.Errorf("/metrics: %d %s", code, body)
	}
	for path, cause := range map[string]*error{"/healthz": &health, "/readyz": &ready} {
		if code, _ := get(path); code != http.StatusOK {
			t.Errorf("%s: %d when well", path, code)
		}
		*cause = errors.New("stuck somewhere")
		if code, body := get(path); code != http.StatusServiceUnavailable || !strings.Contains(body, "stuck somewhere") {
			t.Errorf("%s: %d %s when not", path, code, body)
		}
	}
	if _, err := Serve(ctx, Config{Address: addr.String()}, Options{Metrics: reg, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("a taken port: %v", err)
	}
}
