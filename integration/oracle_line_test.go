package integration_test

import (
	"math"
	"path"
	"slices"
	"strings"
)

// oracleLine is one subscription of one tenant, from its beginning to its end: what a webhook is as long as its tenant and its
// source stay the same. A webhook that moves is a new line. Commits are named by their number, from 1.
type oracleLine struct {
	name   string // for reports
	tenant string // or everyTenant
	// The events of the commits after after may arrive, of those after mustAfter they must, up to mustTo and to. They are the
	// same where a row of the IAM decides, and far apart where a command does that the relay notices later.
	after, mustAfter, mustTo, to int
	paths                        []oraclePath
	wants                        []oracleWants
	ordering                     string // resource, strict, or empty
}

// oraclePath is where a line leads, from a commit on.
type oraclePath struct {
	path, secret string
	to           int // events of later commits do not come here any more
}

// oracleWants are the patterns of events that are wanted from a commit on.
type oracleWants struct {
	after, mustAfter int
	patterns         string
}

const (
	everyTenant = "*"
	endless     = math.MaxInt
)

func (w oracleWants) wanted(event string) bool {
	return slices.ContainsFunc(strings.Split(w.patterns, ","), func(pattern string) bool {
		ok, _ := path.Match(pattern, event)
		return ok
	})
}

// hears reports whether an event of a commit may and whether it must arrive.
func (l *oracleLine) hears(e *oracleEvent, commit int) (may, must bool) {
	if l.tenant != e.tenant && l.tenant != everyTenant || commit <= l.after || commit > l.to {
		return false, false
	}
	must = commit > l.mustAfter && commit <= l.mustTo
	for _, w := range slices.Backward(l.wants) {
		wanted := w.wanted(e.name)
		if commit > w.mustAfter {
			return may || wanted, must && wanted
		}
		if commit > w.after { // this one, or the one before it
			may, must = may || wanted, must && wanted
		}
	}
	return may, false
}

// leads reports whether events of a commit may come to a path.
func (l *oracleLine) leads(path string, commit int) bool {
	return slices.ContainsFunc(l.paths, func(p oraclePath) bool { return p.path == path && commit <= p.to })
}

// subscribe begins a line. What a webhook of the same name, but of another tenant, was still owed may be dropped then.
func (o *oracle) subscribe(name, tenant, path, secret, patterns string, after, mustAfter int) *oracleLine {
	l := &oracleLine{
		name: name, tenant: tenant, after: after, mustAfter: mustAfter, mustTo: endless, to: endless,
		paths: []oraclePath{{path, secret, endless}}, wants: []oracleWants{{-1, -1, patterns}},
	}
	for _, former := range o.lines {
		if former.name == name && former.tenant != tenant {
			former.mustTo = min(former.mustTo, o.settled)
		}
	}
	o.lines = append(o.lines, l)
	return l
}

// redirect leads a line to another path. What was committed up to now goes to either.
func (l *oracleLine) redirect(path, secret string, now int) {
	last := &l.paths[len(l.paths)-1]
	last.to = now
	l.paths = append(l.paths, oraclePath{path, secret, endless})
}

// reword changes what is wanted.
func (l *oracleLine) reword(patterns string, after, mustAfter int) {
	l.wants = append(l.wants, oracleWants{after, mustAfter, patterns})
}

// end ends a line whose webhook is gone: what it is owed up to then is still delivered.
func (l *oracleLine) end(mustTo, to int) {
	l.mustTo, l.to = min(l.mustTo, mustTo), min(l.to, to)
	for i := range l.paths {
		l.paths[i].to = min(l.paths[i].to, to)
	}
}

// last is where the line leads now.
func (l *oracleLine) last() oraclePath { return l.paths[len(l.paths)-1] }

// followHooks takes what a commit did to the IAM's webhooks. Its own events go to those that there were before.
func (o *oracle) followHooks(before, after map[string]oracleRow, commit int) {
	usable := func(row oracleRow) bool { return row != nil && row["active"] == "true" }
	for _, key := range oracleKeys(before, after) {
		old, row, l := before[key], after[key], o.hooks[key]
		moved := usable(old) && usable(row) && old["org"] != row["org"]
		switch {
		case moved:
			l.end(min(commit, o.settled), commit) // the rest of what it is owed may be dropped
		case usable(old) && !usable(row):
			l.end(commit, commit)
		case usable(old) && usable(row):
			if old["url"] != row["url"] || old["secret"] != row["secret"] {
				l.redirect(row["url"], row["secret"], commit)
			}
			if old["@patterns"] != row["@patterns"] {
				l.reword(row["@patterns"], commit, commit)
			}
		}
		if usable(row) && (moved || !usable(old)) {
			o.hooks[key] = o.subscribe("iam:"+key, row["org"], row["url"], row["secret"], row["@patterns"], commit, commit)
		}
	}
}

func oracleKeys(states ...map[string]oracleRow) []string {
	var keys []string
	for _, rows := range states {
		for key := range rows {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
