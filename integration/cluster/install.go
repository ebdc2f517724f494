package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// aptInstall installs PostgreSQL without Debian's default cluster, which would start, listen on 5432 and stay. The
// drop-in is for this installation only.
// https://manpages.debian.org/stable/postgresql-common/pg_createcluster.1.en.html
const aptInstall = `set -e
export DEBIAN_FRONTEND=noninteractive
dir=/etc/postgresql-common/createcluster.d
mkdir -p "$dir"
trap 'rm -f "$dir/iam-relay.conf"' EXIT
echo 'create_main_cluster = false' > "$dir/iam-relay.conf"
apt-get update -q
apt-get install -y -q --no-install-recommends postgresql
`

// Install brings PostgreSQL to a machine that has none, where that needs no question: on Debian and its kin, as root or
// with a sudo that asks for no password. Anywhere else, the error says what to install. The output of apt-get goes to log.
func Install(ctx context.Context, log io.Writer) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("install PostgreSQL: there is no apt-get here: install the PostgreSQL server, version 14 or newer, manually" +
			" (Fedora: dnf install postgresql-server; Alpine: apk add postgresql; macOS: brew install postgresql@17)," +
			" or name the directory of its initdb and postgres in IAM_RELAY_TEST_PG_BIN")
	}
	command := []string{"sh", "-c", aptInstall}
	if os.Geteuid() != 0 {
		if err := exec.CommandContext(ctx, "sudo", "-n", "true").Run(); err != nil {
			return errors.New("install PostgreSQL: that needs root: run `sudo apt-get install -y --no-install-recommends postgresql`")
		}
		command = append([]string{"sudo", "-n"}, command...)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("install PostgreSQL: apt-get: %w", err)
	}
	if _, err := FindBinaries(); err != nil {
		return fmt.Errorf("install PostgreSQL: apt-get succeeded, but: %w", err)
	}
	return nil
}
