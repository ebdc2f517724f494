// Command iam-relay sends webhooks for the changes of an IAM's PostgreSQL database.
package main

import (
	"os"

	"github.com/iam-relay/iam-relay/relay/command"
)

// version is set by the linker; a plain build takes it from the build information.
var version string

func main() {
	os.Exit(command.Main(version, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
