package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What an operator does to webhooks: by command, which a running relay notices a little later, and in the configuration file,
// which the next start reads.

// command runs a command of the relay.
func (o *oracle) command(arguments ...string) string {
	o.t.Helper()
	output, err := o.try(arguments...)
	if err != nil {
		o.t.Fatalf("%s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return output
}

func (o *oracle) try(arguments ...string) (string, error) {
	output, err := exec.CommandContext(within(o.t), o.program, slices.Concat(arguments[:2], []string{"--config", o.file}, arguments[2:])...).CombinedOutput()
	return string(output), err
}

func (o *oracle) secretFile(secret string) string {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return file
}

// anyOrg is one that there is, preferably one with people.
func (o *oracle) anyOrg(choice int) string {
	id, _, _ := pick(o.state["orgs"], choice, nil)
	return id
}

// operate does something to a webhook made by command. What the running relay ingests before it has noticed, it may
// treat in the old way; a relay that starts later knows it at once.
func (o *oracle) operate(choice int) {
	o.quiet()
	away := choice%4 == 0
	if away {
		o.stopAll()
	}
	choice /= 4
	if n := len(o.made); n == 0 || choice%3 == 0 {
		name, path, secret, org := o.next("made-"), o.path(), o.secret(), o.anyOrg(choice)
		o.command("webhooks", "add", "--name", name, "--url", o.hook.URL(path), "--tenant", org, "--secret-file", o.secretFile(secret))
		o.made = append(o.made, o.subscribe("relay:"+name, org, path, secret, "*", o.settled, endless))
	} else {
		o.change(choice/3%n, choice/9)
	}
	if away {
		s := o.sessions[choice%oracleSessions]
		for i := range choice % 4 {
			s.act(choice/5 + i)
		}
		s.commit()
		o.launch(choice % len(o.relays))
	}
	o.heard()
}

// change updates or removes one.
func (o *oracle) change(which, choice int) {
	line := o.made[which]
	name := strings.TrimPrefix(line.name, "relay:")
	path, secret, org := o.path(), line.last().secret, o.anyOrg(choice/4)
	switch kind := choice % 4; {
	case kind == 0:
		o.command("webhooks", "remove", name)
		o.made = slices.Delete(o.made, which, which+1)
		line.mustTo = o.settled
		o.ending = append(o.ending, line)
		// Another one shows when the relay has noticed.
		o.operateOn("made-", o.anyOrg(choice))
	case kind == 1:
		o.command("webhooks", "update", name, "--url", o.hook.URL(path))
		line.paths = append(line.paths, oraclePath{path, secret, endless})
		o.turning = append(o.turning, line)
	case org != line.tenant:
		arguments := []string{"webhooks", "update", name, "--tenant", org}
		if kind == 2 {
			arguments = append(arguments, "--url", o.hook.URL(path))
		} else {
			path = line.last().path
		}
		o.command(arguments...)
		line.mustTo = o.settled
		o.ending = append(o.ending, line)
		o.made[which] = o.subscribe(line.name, org, path, secret, "*", o.settled, endless)
	}
}

func (o *oracle) operateOn(kind, org string) {
	name, path, secret := o.next(kind), o.path(), o.secret()
	o.command("webhooks", "add", "--name", name, "--url", o.hook.URL(path), "--tenant", org, "--secret-file", o.secretFile(secret))
	o.made = append(o.made, o.subscribe("relay:"+name, org, path, secret, "*", o.settled, endless))
}

// heard waits until the relay has heard what was commanded: until an event has come to where it comes only since.
func (o *oracle) heard() {
	o.t.Helper()
	o.healthy()
	s := o.sessions[administrator]
	for _, line := range o.made {
		if line.mustAfter != endless {
			continue
		}
		o.until(line.name+" has begun", line, line.last().path, func() { s.begin(); s.insertTeam(line.tenant); s.commit() })
		line.mustAfter = len(o.commits)
	}
	for _, line := range o.turning {
		o.until(line.name+" has turned", line, line.last().path, func() { s.begin(); s.insertTeam(line.tenant); s.commit() })
		line.paths[len(line.paths)-2].to = len(o.commits)
	}
	for _, line := range o.ending {
		line.end(line.mustTo, len(o.commits))
	}
	o.turning, o.ending = nil, nil
	o.settle()
}

// until repeats a change until an event of one of its commits, or of a later one, has come to a path.
func (o *oracle) until(what string, line *oracleLine, path string, change func()) {
	o.t.Helper()
	from := len(o.commits)
	eventually(o.t, what, func() (bool, error) {
		for which := range o.relays {
			o.running(which)
		}
		change()
		o.someArrivals(0)
		o.take()
		for i, c := range o.commits[from:] {
			for _, e := range c.events {
				if may, _ := line.hears(&e, from+i+1); may && o.deliveries.on[path][e] > 0 {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

// pauseHook disables and enables webhooks by command. What comes meanwhile comes afterwards.
func (o *oracle) pauseHook(choice int) {
	o.repair()
	if len(o.disabled) > 0 && choice%2 == 0 {
		o.enable()
		return
	}
	var names []string
	for _, line := range o.made {
		names = append(names, strings.TrimPrefix(line.name, "relay:"))
	}
	for _, line := range o.configured {
		names = append(names, line.name)
	}
	if len(names) == 0 {
		return
	}
	name := names[choice/2%len(names)]
	if !slices.Contains(o.disabled, name) {
		switch output, err := o.try("webhooks", "disable", name, "--reason", "for a while"); {
		case err == nil:
			o.disabled = append(o.disabled, name)
		case !strings.Contains(output, "there is no webhook"): // no relay has read the configuration yet
			o.t.Fatalf("disable %s: %v\n%s", name, err, output)
		}
	}
}

func (o *oracle) enable() {
	if len(o.disabled) > 0 {
		o.repair() // the command goes through the same wire as the relays
	}
	for _, name := range o.disabled {
		o.command("webhooks", "enable", name)
	}
	o.disabled = nil
}

// configure changes the webhooks of the configuration file, and starts the relays again.
func (o *oracle) configure(choice int) {
	o.enable()
	if choice%2 == 0 {
		o.quiet()
	}
	o.stopAll()
	s := o.sessions[choice%oracleSessions]
	for i := range choice % 3 {
		s.act(choice/5 + i)
	}
	o.close()
	choice /= 6
	now := len(o.commits)
	if n := len(o.configured); n == 0 || choice%3 == 0 && n < 6 {
		name, path, secret, org := o.next("set-"), o.path(), o.secret(), o.anyOrg(choice)
		o.configured = append(o.configured, o.subscribe("config:"+name, org, path, secret, "*", o.settled, now))
	} else {
		at := choice / 3 % n
		line := o.configured[at]
		path, org := o.path(), o.anyOrg(choice/12)
		switch kind := choice / 9 % 4; {
		case kind == 0:
			line.end(o.settled, now)
			o.configured = slices.Delete(o.configured, at, at+1)
		case kind == 1 || org == line.tenant:
			line.redirect(path, line.last().secret, now)
		default:
			if kind == 2 {
				path = line.last().path
			}
			line.end(o.settled, now)
			o.configured[at] = o.subscribe(line.name, org, path, o.secret(), "*", o.settled, now)
		}
	}
	o.writeConfiguration()
	o.launch(choice % len(o.relays))
}

// writeConfiguration writes the file with the webhooks that there are now.
func (o *oracle) writeConfiguration() {
	o.t.Helper()
	var hooks []map[string]any
	for _, line := range slices.Concat(o.everything, o.configured) {
		hook := map[string]any{"name": strings.TrimPrefix(line.name, "config:"), "url": o.hook.URL(line.last().path), "secret": line.last().secret, "tenant": line.tenant}
		if line.ordering != "" {
			hook["ordering"] = line.ordering
		}
		hooks = append(hooks, hook)
	}
	o.cfg.values["webhook"] = hooks
	o.file = o.cfg.write(o.t)
}
