package integration_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// load commits changes of users at a steady pace, as several administrators would, and keeps account of them. A statement
// whose outcome is unknown, because the server went away, is looked up when the server is back.
type load struct {
	account
	w      *world
	cancel context.CancelFunc
	done   sync.WaitGroup
	n      atomic.Int64
}

// begin starts the load: each of the committers commits once per pause.
func (w *world) begin(committers int, pause time.Duration) *load {
	return w.beginWith(committers, pause, (*committer).commit)
}

// beginWith starts a load of commits of a kind.
func (w *world) beginWith(committers int, pause time.Duration, commit func(*committer)) *load {
	ctx, cancel := context.WithCancel(w.t.Context())
	l := &load{w: w, cancel: cancel}
	w.t.Cleanup(func() { l.end() })
	for range committers {
		l.done.Go(func() {
			c := committer{load: l, firstname: map[string]string{}}
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					commit(&c)
				}
			}
		})
	}
	return l
}

// end stops the load once every outcome is known.
func (l *load) end() {
	l.cancel()
	l.done.Wait()
}

// committer changes users of its own, so that what it expects depends on nobody else.
type committer struct {
	*load
	users     []string
	firstname map[string]string
}

// create makes a user and accounts for it.
func (c *committer) create() {
	n, user := int(c.n.Add(1)), ferriskey.NewID()
	c.change(user, "user.created", `SELECT count(*) = 1 FROM users WHERE id = $1`,
		`INSERT INTO users (id, realm_id, username, firstname, email, enabled, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, true, now(), now())`,
		user, c.w.acme.ID, fmt.Sprintf("load-%d", n), fmt.Sprintf("name-%d", n), "load-"+email(n))
	c.users = append(c.users, user)
}

// commit makes one change and accounts for it.
func (c *committer) commit() {
	switch choice := rand.IntN(10); {
	case len(c.users) < 3 || choice < 5:
		c.create()
	case choice < 8:
		name := fmt.Sprintf("name-%d", c.n.Add(1))
		user := c.users[rand.IntN(len(c.users))]
		c.change(user, "user.updated", `SELECT count(*) = 1 FROM users WHERE id = $1 AND firstname = '`+name+`'`,
			`UPDATE users SET firstname = $2, failed_login_attempts = 0 WHERE id = $1`, user, name)
	default:
		user := c.users[0]
		c.users = c.users[1:]
		c.change(user, "user.deleted", `SELECT count(*) = 0 FROM users WHERE id = $1`, `DELETE FROM users WHERE id = $1`, user)
	}
}

// change runs a statement until it is known to have been committed, once.
func (c *committer) change(user, event, committed, sql string, arguments ...any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.w.t.Context()), patience)
	defer cancel()
	_, err := c.w.db.Exec(ctx, sql, arguments...)
	for err != nil {
		var yes bool
		if c.w.db.QueryRow(ctx, committed, user).Scan(&yes) == nil {
			if yes {
				break
			}
			_, err = c.w.db.Exec(ctx, sql, arguments...)
		}
		if ctx.Err() != nil {
			c.w.t.Errorf("%s: %v", event, err)
			return
		}
	}
	c.add(expect(event, user, c.w.acme.ID))
}
