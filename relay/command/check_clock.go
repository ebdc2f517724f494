package command

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// clockTolerance is how much two clocks may differ.
const clockTolerance = 5 * time.Second

// clockReading is how far a server's clock is ahead of this machine's, and the error of that.
type clockReading struct {
	server       string
	ahead, wrong time.Duration
}

// readClock reads the clock of a server. A clock that cannot be read is not compared: the next query to that server reports the error.
func (c *check) readClock(ctx context.Context, conn *pgx.Conn, server string) {
	asked := time.Now()
	var at time.Time
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&at); err != nil {
		return
	}
	took := time.Since(asked)
	c.noteClock(server, at.Sub(asked.Add(took/2).Round(0)), took)
}

func (c *check) noteClock(server string, ahead, wrong time.Duration) {
	c.clocks = append(c.clocks, clockReading{server, ahead, wrong})
}

// compareClocks warns of clocks that differ.
func (c *check) compareClocks() {
	for i, a := range c.clocks {
		if a.ahead.Abs() > clockTolerance+a.wrong {
			c.warning("clock", "the clock of %s is %s this machine's; set both by NTP, because %s", a.server, distance(a.ahead), clockMatters)
		}
		for _, b := range c.clocks[:i] {
			if d := a.ahead - b.ahead; d.Abs() > clockTolerance+a.wrong+b.wrong {
				c.warning("clock", "the clock of %s is %s that of %s; set both by NTP, because %s", a.server, distance(d), b.server, clockMatters)
			}
		}
	}
}

// clockMatters is the reason to set the clocks.
const clockMatters = "signatures, retention and the times of events follow them, and receivers refuse signatures that are minutes off"

func distance(ahead time.Duration) string {
	if ahead < 0 {
		return (-ahead).Round(time.Second).String() + " behind"
	}
	return ahead.Round(time.Second).String() + " ahead of"
}
