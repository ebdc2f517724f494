package command

import (
	"bytes"
	"testing"
	"time"
)

// Each pair of clocks that differ by more than they may is named, and what cannot be known for the time that reading took is not.
func TestCheck_ClocksThatDiffer(t *testing.T) {
	t.Parallel()
	const why = "; set both by NTP, because " + clockMatters + "\n"
	for name, test := range map[string]struct {
		clocks []clockReading
		want   string
	}{
		"all agree":          {[]clockReading{{"the outbox's server", 5 * time.Second, 0}, {"the source's server", -time.Second, 2 * time.Second}}, ""},
		"a slow answer":      {[]clockReading{{"the outbox's server", 9 * time.Second, 5 * time.Second}}, ""},
		"one was not read":   {[]clockReading{{"the source's server", -2 * time.Hour, 0}}, "! clock        the clock of the source's server is 2h0m0s behind this machine's" + why},
		"this machine's":     {[]clockReading{{"the outbox's server", time.Hour, 0}, {"the source's server", time.Hour, 0}}, "! clock        the clock of the outbox's server is 1h0m0s ahead of this machine's" + why + "! clock        the clock of the source's server is 1h0m0s ahead of this machine's" + why},
		"between the others": {[]clockReading{{"the outbox's server", -4 * time.Second, 0}, {"the source's server", 4 * time.Second, 0}}, "! clock        the clock of the source's server is 8s ahead of that of the outbox's server" + why},
	} {
		var out bytes.Buffer
		c := &check{environment: &environment{out: &out}, clocks: test.clocks}
		c.compareClocks()
		if got := out.String(); got != test.want || c.failed > 0 {
			t.Errorf("%s:\n%swant:\n%s", name, got, test.want)
		}
	}
}
