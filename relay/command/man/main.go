// Command man writes the man pages of iam-relay into a directory.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra/doc"

	"github.com/iam-relay/iam-relay/relay/command"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: man VERSION DIRECTORY")
		os.Exit(2)
	}
	version, dir := os.Args[1], os.Args[2]
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		header := &doc.GenManHeader{Section: "1", Source: "IAM Relay " + version, Manual: "IAM Relay"}
		err = doc.GenManTree(command.Root(version), header, dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "man:", err)
		os.Exit(1)
	}
}
