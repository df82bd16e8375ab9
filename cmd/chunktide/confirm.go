package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// confirm asks before something that cannot simply be undone. yes is --yes.
// Without a person at a terminal who could answer, --yes is needed.
func (a *app) confirm(yes bool, question string, args ...any) error {
	if yes {
		return nil
	}
	if f, ok := a.io.in.(*os.File); ok {
		info, err := f.Stat()
		if err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return usagef("nobody can be asked at standard input: give --yes")
		}
	}
	fmt.Fprintf(a.io.err, question+" [y/N] ", args...)
	answer, err := bufio.NewReader(a.io.in).ReadString('\n')
	if err != nil && answer == "" {
		return usagef("nobody answered: give --yes")
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
