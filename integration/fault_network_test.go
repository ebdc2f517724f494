package integration_test

import (
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/wire"
)

// Each of the relay's three links fails by itself, in each of the ways in which a network does: to the IAM's database, to an
// outbox in a database of its own, and to the endpoint.
func TestFault_Network(t *testing.T) {
	t.Parallel()
	const frozen = 6 * time.Second // longer than the servers wait for the relay
	for name, test := range map[string]struct {
		fault string
		times int
		do    func(*trial, *wire.Wire)
		only  string // a link that takes so long that it is tried for the table only
	}{
		"cut": {"cut, and refused for 1 s", strength(20, 2, 1), func(tr *trial, w *wire.Wire) {
			w.Cut()
			tr.lasts(time.Second)
			w.Restore()
		}, ""},
		"half_open": {"half-open: nothing passes for 6 s", strength(5, 1, 1), func(tr *trial, w *wire.Wire) {
			w.Freeze(wire.Both)
			tr.lasts(frozen)
			w.Thaw()
		}, ""},
		"half_open_up": {"half-open one way: nothing reaches it for 6 s", strength(5, 1, 0), func(tr *trial, w *wire.Wire) {
			w.Freeze(wire.Up)
			tr.lasts(frozen)
			w.Thaw()
		}, "source outbox endpoint"},
		"half_open_down": {"half-open the other way: nothing comes from it for 6 s", strength(5, 1, 0), func(tr *trial, w *wire.Wire) {
			w.Freeze(wire.Down)
			tr.lasts(frozen)
			w.Thaw()
		}, "source outbox endpoint"},
		// The relay waits for a minute: a server that decodes a very large transaction is as silent.
		"forgotten": {"connections forgotten by a firewall, new ones work", strength(3, 1, 1), func(tr *trial, w *wire.Wire) {
			w.Strand()
			tr.reaches("user.created", tr.createUser(&tr.load.account, 1_000_000+tr.injected))
		}, "source outbox"},
		"slow": {"slow for 3 s: 20 ms late, 64 kB/s", strength(10, 1, 1), func(tr *trial, w *wire.Wire) {
			w.Slow(wire.Both, wire.Pace{Latency: 20 * time.Millisecond, BytesPerSecond: 64 << 10})
			tr.lasts(3 * time.Second)
			w.Slow(wire.Both, wire.Pace{})
		}, ""},
	} {
		for link, through := range map[string]func(*trial) *wire.Wire{
			"source": throughSource, "outbox": throughOutbox, "endpoint": throughEndpoint,
		} {
			t.Run(link+"_"+name, func(t *testing.T) {
				t.Parallel()
				if os.Getenv(reportVariable) == "" && strings.Contains(test.only, link) {
					t.Skip("it takes long: make reliability runs it")
				}
				if name == "slow" && link != "source" {
					inFullRun(t)
				}
				tr := newWorld(t).try(link + ": " + test.fault)
				w := through(tr)
				p := tr.start()
				tr.begin()
				tr.inject(test.times, func() { test.do(tr, w) })
				if c := w.Counts(); c.Up == 0 || c.Down == 0 {
					t.Errorf("nothing has come through the wire: %+v", c)
				}
				tr.end(p)
			})
		}
	}
}

// throughSource leads the relay to the IAM's database through a wire; the outbox is elsewhere.
func throughSource(tr *trial) *wire.Wire {
	tr.t.Helper()
	tr.elsewhere(clustertest.Database(tr.t))
	w, through := lead(tr.t, tr.url)
	tr.cfg.set("source.url", through)
	return w
}

// throughOutbox leads the relay to an outbox in a database of its own through a wire.
func throughOutbox(tr *trial) *wire.Wire {
	tr.t.Helper()
	straight := clustertest.Database(tr.t)
	w, through := lead(tr.t, straight)
	tr.elsewhere(straight)
	tr.cfg.set("outbox.url", through)
	return w
}

// throughEndpoint leads the relay to the receiver through a wire.
func throughEndpoint(tr *trial) *wire.Wire {
	tr.t.Helper()
	w, through := lead(tr.t, tr.hook.URL(all))
	tr.cfg.values["webhook"].([]map[string]any)[0]["url"] = through
	return w
}

// lead starts a wire to a URL's host, and returns the URL that leads through it.
func lead(t testing.TB, straight string) (w *wire.Wire, through string) {
	t.Helper()
	at, err := url.Parse(straight)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = wire.Start(at.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	at.Host = w.Address()
	return w, at.String()
}
