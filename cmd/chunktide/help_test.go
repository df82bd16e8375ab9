package main

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// walk visits a command and all below it.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

func newTestRoot() *cobra.Command {
	return newRoot(&app{io: stdio{strings.NewReader(""), io.Discard, io.Discard}})
}

// lacks names what the help of a command does not have.
func lacks(c *cobra.Command) (missing []string) {
	if c.Short == "" || strings.HasSuffix(c.Short, ".") || !unicode.IsUpper([]rune(c.Short)[0]) {
		missing = append(missing, "a short line, capital first, without a full stop")
	}
	if len(c.Long) <= len(c.Short) {
		missing = append(missing, "a long text, longer than the short one")
	}
	if len(exampleCalls(c.Example)) == 0 {
		missing = append(missing, "an example that calls chunktide")
	}
	return missing
}

// Every command that can be run tells what it does, at length, with an example.
func TestEveryCommandHasHelp(t *testing.T) {
	commands := 0
	walk(newTestRoot(), func(c *cobra.Command) {
		if !c.Runnable() {
			return
		}
		commands++
		for _, what := range lacks(c) {
			t.Errorf("%s lacks %s", c.CommandPath(), what)
		}
		for line := range strings.Lines(c.Long) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
				t.Errorf("%s: a line of its text has %d characters, and a terminal may have 100: %q", c.CommandPath(), n, line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s says nothing of itself", c.CommandPath(), f.Name)
			}
		})
	})
	if commands < 20 {
		t.Errorf("%d commands were looked at", commands)
	}
	if control := (&cobra.Command{Use: "x", Short: "does x.", Long: "X.", Example: "  echo x"}); len(lacks(control)) != 3 {
		t.Errorf("of a command without help is said to lack %q", lacks(control))
	}
}

// Every example names a command and flags that exist.
func TestExamplesCanBeTyped(t *testing.T) {
	walk(newTestRoot(), func(c *cobra.Command) {
		for _, call := range exampleCalls(c.Example) {
			if err := typed(call); err != nil {
				t.Errorf("%s: %q: %v", c.CommandPath(), call, err)
			}
		}
	})
	for _, call := range [][]string{{"nonsense"}, {"run", "--no-such-flag"}, {"search"}, {"migrate", "nonsense"}} {
		if typed(call) == nil {
			t.Errorf("%q can be typed", call)
		}
	}
}

// Whoever is called at night copies what the runbooks say.
func TestTheCommandsOfTheRunbooksCanBeTyped(t *testing.T) {
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	_, runbooks, found := strings.Cut(string(page), "\n## Runbooks\n")
	runbooks, _, ended := strings.Cut(runbooks, "\n## ")
	if !found || !ended {
		t.Fatal("there is no section of runbooks")
	}
	calls := 0
	for _, quoted := range regexp.MustCompile("`(chunktide [^`]+)`|(?m)^ {4,}(.*chunktide .*)$").FindAllStringSubmatch(runbooks, -1) {
		for _, call := range exampleCalls(quoted[1] + quoted[2]) {
			calls++
			if err := typed(call); err != nil {
				t.Errorf("%q: %v", call, err)
			}
		}
	}
	if calls < 30 {
		t.Errorf("%d commands were found: the runbooks are written in another way now", calls)
	}
}

func typed(args []string) error {
	root := newTestRoot()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// exampleCalls are the arguments of each call of chunktide in a few lines of
// shell.
func exampleCalls(lines string) (calls [][]string) {
	for line := range strings.Lines(lines) {
		for _, words := range shellCommands(line) {
			if len(words) == 0 || words[0] != "chunktide" {
				continue
			}
			if to := slices.Index(words, ">"); to > 0 {
				words = words[:to]
			}
			calls = append(calls, words[1:])
		}
	}
	return calls
}

// shellCommands splits a line into commands and their words, as far as examples
// need it: quotes, pipes, semicolons and comments.
func shellCommands(line string) (commands [][]string) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	end := func() {
		if inWord {
			words = append(words, word.String())
		}
		word.Reset()
		inWord = false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == '#' && !inWord:
			return append(commands, words)
		case r == '|' || r == ';' || r == '&':
			end()
			commands, words = append(commands, words), nil
		case unicode.IsSpace(r):
			end()
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	end()
	return append(commands, words)
}
