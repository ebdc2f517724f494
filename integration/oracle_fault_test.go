package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/receiver"
	"github.com/iam-relay/iam-relay/integration/wire"
)

// oracleFaults are what happens to the relays and around them.
var oracleFaults = map[string]func(o *oracle, choice int){
	"launch": (*oracle).faultLaunch,
	"kill":   (*oracle).faultKill,
	"stop":   (*oracle).faultStop,
	"freeze": (*oracle).faultFreeze,
	"thaw":   func(o *oracle, _ int) { o.thaw() },
	"sender": func(o *oracle, _ int) {
		o.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active`, o.name)
	},
	"sessions": (*oracle).faultSessions,
	"server":   (*oracle).faultServer,
	"network":  (*oracle).faultNetwork,
	"repair":   func(o *oracle, _ int) { o.repair() },
	"endpoint": func(o *oracle, choice int) { o.hook.Respond(o.mood(choice)) },
	"arrivals": (*oracle).someArrivals,
	"clock":    (*oracle).faultClock,
}

func (o *oracle) faultLaunch(choice int) {
	if which := choice % len(o.relays); o.relays[which] == nil {
		o.launch(which)
	}
}

func (o *oracle) launch(which int) {
	o.relays[which] = launchProgram(o.t, o.program, o.file, o.cfg.secrets)
	o.frozen[which], o.launched[which] = false, time.Now()
}

func (o *oracle) faultKill(choice int) { o.kill(choice % len(o.relays)) }

func (o *oracle) kill(which int) {
	if p := o.running(which); p != nil {
		p.kill()
		o.relays[which], o.frozen[which] = nil, false
	}
}

func (o *oracle) faultStop(choice int) { o.stop(choice % len(o.relays)) }

// stop ends a relay in order. Before it has begun, a signal simply ends it.
func (o *oracle) stop(which int) {
	o.t.Helper()
	p := o.running(which)
	if p == nil {
		return
	}
	if o.frozen[which] {
		p.signal(syscall.SIGCONT)
	}
	if p.hasBegun() {
		p.stop()
	} else {
		p.kill()
	}
	o.relays[which], o.frozen[which] = nil, false
}

func (o *oracle) faultFreeze(choice int) {
	which := choice % len(o.relays)
	if p := o.running(which); p != nil && !o.frozen[which] {
		p.signal(syscall.SIGSTOP)
		o.frozen[which] = true
	}
}

func (o *oracle) thaw() {
	for which, p := range o.relays {
		if p != nil && o.frozen[which] {
			p.signal(syscall.SIGCONT)
			o.frozen[which] = false
		}
	}
}

// running is a relay that nobody has ended; it must not have ended by itself. One that found no server when it began is
// launched again, as its supervisor does.
func (o *oracle) running(which int) *process {
	o.t.Helper()
	p := o.relays[which]
	if p == nil {
		return nil
	}
	select {
	case <-p.exited:
		if p.hasBegun() && !o.mayExit {
			printed, _ := p.log.read()
			o.t.Fatalf("relay %d ended by itself: %v\n%s", which, p.err, tail(printed, 5))
		}
		if time.Since(o.launched[which]) > time.Second { // a supervisor takes its time, too
			o.launch(which)
		}
	default:
	}
	return o.relays[which]
}

func (o *oracle) faultSessions(int) {
	const sql = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'iam%' AND random() < 0.5`
	o.exec(sql)
	if o.outbox != o.source {
		conn, err := o.outbox.Connect(o.t.Context(), "postgres")
		if err != nil {
			o.t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(o.t.Context(), sql); err != nil {
			o.t.Fatal(err)
		}
	}
}

// faultServer ends a server, which takes with it what was not committed.
func (o *oracle) faultServer(choice int) {
	o.t.Helper()
	server := []*cluster.Cluster{o.source, o.outbox}[choice/3%2]
	end := []func() error{server.Kill, func() error { return server.Stop("fast") }, func() error { return server.Stop("immediate") }}[choice%3]
	if choice%3 == 1 {
		// A walsender whose client is silent holds up the shutdown until its time-out, which a clock that was set back puts off.
		o.thaw()
		o.repair()
	}
	if err := end(); err != nil {
		o.t.Fatal(err)
	}
	if err := server.Restart(within(o.t)); err != nil {
		o.t.Fatal(err)
	}
	o.db.Reset()
	if server == o.source {
		for _, s := range o.sessions {
			s.open, s.conn = false, o.connect()
		}
	}
}

// faultNetwork cuts the relays off from the IAM's server or the outbox's, or lets nothing through.
func (o *oracle) faultNetwork(choice int) {
	w := o.wires[choice%len(o.wires)]
	switch choice / 2 % 4 {
	case 0:
		w.Cut()
	case 1:
		w.Freeze(wire.Both)
	case 2:
		w.Slow(wire.Both, wire.Pace{Latency: 5 * time.Millisecond, BytesPerSecond: 256 << 10})
	case 3:
		w.Cut()
		w.Restore()
	}
}

func (o *oracle) repair() {
	for _, w := range o.wires {
		w.Restore()
		w.Thaw()
		w.Slow(wire.Both, wire.Pace{})
	}
}

// faultClock sets a clock: that of the relays' host, or that of the IAM's server. Each stays within ten days of what is right.
// A server that keeps the outbox too is only set forward: what is to be sent later is sent by its clock.
func (o *oracle) faultClock(choice int) {
	if len(o.clocks) == 0 {
		return
	}
	c := o.clocks[choice%len(o.clocks)]
	by := []time.Duration{time.Minute, time.Hour, 5 * time.Hour, 26 * time.Hour, 3 * 24 * time.Hour, 9 * 24 * time.Hour}[choice/4%6]
	if choice/2%2 == 0 && !c.forward {
		by = -by
	}
	if to := c.off + by; to.Abs() <= 10*24*time.Hour {
		c.off = to
		c.set(o.t, to)
	}
}

// someArrivals gives deliveries a moment, if there are any to come.
func (o *oracle) someArrivals(int) {
	ctx, cancel := context.WithTimeout(o.t.Context(), 100*time.Millisecond)
	defer cancel()
	before := o.hook.Snapshot().Requests
	// What does not come now comes later; only the end is judged.
	_, _ = o.hook.Wait(ctx, func(s *receiver.Snapshot) bool { return s.Requests >= before+20 })
}

// mood is how the endpoints behave for a while: some of the paths, or all, badly in one of several ways.
func (o *oracle) mood(choice int) func(*receiver.Delivery) receiver.Response {
	random := rand.New(rand.NewPCG(uint64(choice), 0))
	kind, some := choice%7, choice/7%3
	return func(d *receiver.Delivery) receiver.Response {
		if some > 0 && (len(d.Path)+int(d.Path[len(d.Path)-1]))%3 != some {
			return receiver.Response{}
		}
		switch roll := random.IntN(8); {
		case kind == 1:
			return receiver.Response{Status: 500}
		case kind == 2 && roll < 4:
			return receiver.Response{Status: 503}
		case kind == 3 && roll < 2:
			return receiver.Response{Hang: true}
		case kind == 4:
			return receiver.Response{Delay: time.Duration(random.IntN(30)) * time.Millisecond}
		case kind == 5 && roll == 0:
			return receiver.RetryAfter(429, time.Second)
		case kind == 6 && roll < 2:
			return receiver.Response{Status: 404}
		}
		return receiver.Response{}
	}
}

// healthy makes all well again, but for the relays that are gone; one runs at least.
func (o *oracle) healthy() {
	o.t.Helper()
	o.repair()
	o.thaw()
	o.hook.Respond(wellBehaved)
	o.enable()
	if !o.runs() {
		o.launch(0)
	}
}

func (o *oracle) runs() bool { return o.relays[0] != nil || o.relays[1] != nil }

// settle waits until everything that must arrive has arrived.
func (o *oracle) settle() {
	o.t.Helper()
	o.healthy()
	ctx, cancel := context.WithTimeout(o.t.Context(), oraclePatience)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		for which := range o.relays {
			o.running(which)
		}
		o.take()
		missing := o.missing(1)
		if len(missing) == 0 {
			break
		}
		if time.Since(began) > 15*time.Second {
			o.t.trace("still missing: %s%s", missing[0], o.printed())
			began = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			missing := o.missing(20)
			o.lost += len(missing)
			o.judge()
			o.t.Fatalf("not after %s: %d or more are lost:\n%s%s", oraclePatience, len(missing), strings.Join(missing, "\n"), o.printed())
		}
	}
	o.settled = len(o.commits)
}

// printed is the end of what the running relays have printed.
func (o *oracle) printed() string {
	var text strings.Builder
	for which, p := range o.relays {
		if p != nil {
			printed, _ := p.log.read()
			fmt.Fprintf(&text, "\nrelay %d printed:\n%s", which, tail(printed, 15))
		}
	}
	return text.String()
}

// quiet ends what is open, and settles.
func (o *oracle) quiet() {
	o.t.Helper()
	o.close()
	o.settle()
}

// close commits what is open.
func (o *oracle) close() {
	for _, s := range o.sessions {
		s.commit()
	}
}

// oraclePatience is how long what was committed may take to arrive once all is well. A connection that leads nowhere is given
// up after a minute.
const oraclePatience = 3 * time.Minute
