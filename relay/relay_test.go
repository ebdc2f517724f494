package relay_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
)

// Wherever New fails, it leaves no goroutine and no connection behind.
func TestNew_ReleasesEverythingWhenItFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte("[source]\nurl = \"postgres://localhost/iam\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(*config.Config){
		"outbox":   func(cfg *config.Config) { cfg.Outbox.Schema = "no schema" },
		"listener": func(cfg *config.Config) { cfg.Admin.Listen = taken.Addr().String() },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.Load(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			breaks(cfg)
			before := goleak.IgnoreCurrent()
			if _, err := relay.New(cfg, "test", slog.New(slog.DiscardHandler)); err == nil {
				t.Fatal("New succeeded")
			}
			goleak.VerifyNone(t, before)
		})
	}
}
