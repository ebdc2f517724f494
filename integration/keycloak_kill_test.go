package integration_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/keycloak"
)

// Keycloak and the relay are killed in turn while users are created: each user that is in Keycloak's tables has given one event.
func TestKeycloak_NothingIsLostWhenBothAreKilled(t *testing.T) {
	if os.Getenv(keycloakVariable) != "all" {
		t.Skip("make iams runs it")
	}
	versions := keycloak.Versions()
	k := newKeycloak(t, versions[len(versions)-1])
	p := k.startRelay()
	if _, err := keycloak.NewAdmin(k.server).Post(t.Context(), "", map[string]any{"realm": "load", "enabled": true}); err != nil {
		t.Fatal(err)
	}
	load := k.createUsers()
	for range 3 {
		load.more(t, 20)
		if err := k.server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := k.server.Restart(within(t)); err != nil {
			t.Fatal(err)
		}
		load.more(t, 20)
		p.kill()
		load.more(t, 20)
		p = k.startRelay()
	}
	load.end(t)

	realm := value[string](t, k.db, `SELECT id FROM realm WHERE name = 'load'`)
	var a account
	a.add(expect("realm.created", realm, realm))
	for _, user := range value[[]string](t, k.db, `SELECT array_agg(id::text) FROM user_entity WHERE realm_id = $1`, realm) {
		a.add(expect("user.created", user, realm))
	}
	if a.len() < int(load.created.Load()) {
		t.Errorf("Keycloak has %d users, and said of %d that it has made them", a.len()-1, load.created.Load())
	}
	a.arrives(t, k.hook, "/all")
	p.stop()
}

// userLoad creates users one after the other, and goes on when Keycloak is not there for a while.
type userLoad struct {
	created atomic.Int64 // by Keycloak's word
	stop    context.CancelFunc
	ended   chan error
}

func (k *keycloakWorld) createUsers() *userLoad {
	ctx, cancel := context.WithCancel(k.t.Context())
	l := &userLoad{stop: cancel, ended: make(chan error, 1)}
	go func() {
		admin := keycloak.NewAdmin(k.server)
		tick := time.NewTicker(10 * time.Millisecond) // while there is nobody to answer
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			user := map[string]any{"username": fmt.Sprintf("user-%d", n), "enabled": true}
			if _, err := admin.Post(ctx, "load/users", user); err == nil {
				l.created.Add(1)
				continue
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		l.ended <- context.Cause(ctx)
	}()
	return l
}

// more returns when another n users have been created.
func (l *userLoad) more(t *testing.T, n int64) {
	t.Helper()
	enough := l.created.Load() + n
	eventually(t, "more users are created", func() (bool, error) { return l.created.Load() >= enough, nil })
}

func (l *userLoad) end(t *testing.T) {
	t.Helper()
	l.stop()
	if err := <-l.ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
