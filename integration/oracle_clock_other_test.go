//go:build !linux

package integration_test

import "testing"

// newOracleServers starts the servers. Their clocks, and the relays', are right here.
func newOracleServers(t *testing.T, _ bool) *oracleServers {
	t.Helper()
	return &oracleServers{source: newServer(t), outbox: newServer(t), program: binary}
}
