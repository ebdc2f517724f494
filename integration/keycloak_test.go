package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/keycloak"
)

// keycloakVariable is set by `make iams`: "all" for all versions and all operations, "quick" for the newest version without the
// operations that take long.
const keycloakVariable = "IAM_RELAY_TEST_IAMS"

// What arrives of each operation of a real Keycloak is what a subscriber wants of it, but for the known differences.
func TestKeycloak_EachOperationGivesTheEventsThatAreWanted(t *testing.T) {
	t.Parallel()
	if os.Getenv(keycloakVariable) == "" {
		t.Skip("make iams runs it")
	}
	versions, quick := keycloak.Versions(), os.Getenv(keycloakVariable) == "quick"
	if quick {
		versions = versions[len(versions)-1:]
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			k := newKeycloak(t, version)
			k.startRelay()
			c := &comparison{keycloakWorld: k, began: time.Now()}
			for _, operation := range k.story.Operations(quick) {
				c.do(operation)
			}
			c.judge(knownDifferences(t, "keycloak/testdata/known_differences.txt", version))
		})
	}
}

// keycloakWorld is a Keycloak with its database.
type keycloakWorld struct {
	*world
	server *keycloak.Server
	story  *keycloak.Story
}

func newKeycloak(t *testing.T, version string) *keycloakWorld {
	t.Helper()
	c := clustertest.Server(t, cluster.Options{})
	if err := c.CreateDatabase(t.Context(), "keycloak"); err != nil {
		t.Fatal(err)
	}
	k := &keycloakWorld{world: &world{t: t, url: c.URL("keycloak"), name: "relay", hook: startReceiver(t)}}
	k.db = connect(t, k.url)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience) // of which a first installation takes a part
	defer cancel()
	began := time.Now()
	var err error
	k.server, err = keycloak.Start(ctx, keycloak.Options{Version: version, Cluster: c, Database: "keycloak", Dir: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Keycloak %s was ready after %s", version, time.Since(began).Round(time.Second))
	t.Cleanup(func() {
		if err := k.server.Kill(); err != nil {
			t.Error(err)
		}
		if log, err := os.ReadFile(k.server.LogFile()); t.Failed() {
			t.Logf("Keycloak logged (%v):\n%s", err, tail(string(log), 40))
		}
	})
	k.story = keycloak.NewStory(k.server)
	return k
}

// startRelay starts a relay with the mapping for Keycloak beside it.
func (k *keycloakWorld) startRelay() *process {
	k.t.Helper()
	mapping, err := filepath.Abs("keycloak/testdata/keycloak.toml")
	if err != nil {
		k.t.Fatal(err)
	}
	return start(k.t, k.config().set("mapping.preset", "").set("mapping.file", mapping).webhook(k.hook, "/all"))
}

// knownDifferences reads a list of operations, some of them with the version that they are limited to in front, and comments.
func knownDifferences(t *testing.T, file, version string) (operations []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if first, rest, _ := strings.Cut(line, " "); slices.Contains(keycloak.Versions(), first) {
			if first != version {
				continue
			}
			line = rest
		}
		if line != "" && !strings.HasPrefix(line, "#") {
			operations = append(operations, line)
		}
	}
	return operations
}
