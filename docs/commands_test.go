package docs_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/command"
)

var (
	inline = regexp.MustCompile("`(?:bin/)?iam-relay ([^`]+)`")
	line   = regexp.MustCompile(`(?m)^(?:bin/)?iam-relay (.*)$`)
	name   = regexp.MustCompile(`^[a-z]+$`)
	flag   = regexp.MustCompile(`^--?([a-z-]+)$`)
)

// Every command line in the pages names a command and flags that exist.
func TestCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for file, text := range pages(t) {
		lines := inline.FindAllStringSubmatch(text, -1)
		for _, block := range fence.FindAllString(text, -1) {
			lines = append(lines, line.FindAllStringSubmatch(block, -1)...)
		}
		for _, match := range lines {
			found++
			words, _, _ := strings.Cut(match[1], "#")
			words, _, _ = strings.Cut(words, " | ")
			words, _, _ = strings.Cut(words, " && ")
			if problem := wrongCommand(command.Root("test"), strings.Fields(words)); problem != "" {
				t.Errorf("%s: iam-relay %s: %s", file, match[1], problem)
			}
		}
	}
	if found < 30 {
		t.Errorf("found only %d command lines", found)
	}
}

// wrongCommand returns what is wrong with the words, or nothing. A word in capitals stands for anything.
func wrongCommand(cmd *cobra.Command, words []string) string {
	if len(words) > 0 && words[0] == "help" {
		return ""
	}
	for len(words) > 0 {
		sub, _, err := cmd.Find(words[:1])
		if err != nil || sub == cmd {
			break
		}
		cmd, words = sub, words[1:]
	}
	if !cmd.HasParent() || cmd.HasSubCommands() && len(words) > 0 && name.MatchString(words[0]) {
		return "there is no such command"
	}
	commands := []*cobra.Command{cmd}
	if cmd.HasSubCommands() { // without one of them, the first is meant
		commands = append(commands, cmd.Commands()...)
	}
	for _, word := range words {
		given := flag.FindStringSubmatch(strings.SplitN(word, "=", 2)[0])
		if given == nil {
			continue
		}
		known := false
		for _, c := range commands {
			known = known || c.Flags().Lookup(given[1]) != nil || c.InheritedFlags().Lookup(given[1]) != nil
		}
		if !known {
			return "there is no flag " + word
		}
	}
	return ""
}
