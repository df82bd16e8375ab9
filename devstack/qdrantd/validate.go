package qdrantd

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	maxNameRunes       = 255
	maxVectorNameBytes = 200
	maxVectorSize      = 65536
)

// checkName is the rule for the name of an existing collection or an alias.
func checkName(name string) error {
	return checkNameWithout(name, []string{"/", "\x00"})
}

// checkNewName is the rule for a name that a collection is created under.
func checkNewName(name string) error {
	return checkNameWithout(name, unsafeInFileNames)
}

var unsafeInFileNames = []string{"<", ">", ":", `"`, "/", `\`, "|", "?", "*", "\x00", "\x1f"}

func checkNameWithout(name string, banned []string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxNameRunes {
		return validation(rule{"collection_name", fmt.Sprintf("value %q invalid, must be from 1 to %d characters", name, maxNameRunes)})
	}
	for _, c := range banned {
		if strings.Contains(name, c) {
			return validation(rule{"collection_name", fmt.Sprintf("collection name cannot contain \"%s\" char", c)})
		}
	}
	return nil
}

func checkVectorName(name string) error {
	if len(name) > maxVectorNameBytes {
		return badInput("Invalid dense vector name `%s`: vector name must be at most %d bytes long", name, maxVectorNameBytes)
	}
	for _, c := range unsafeInFileNames {
		if strings.Contains(name, c) {
			return badInput("Invalid dense vector name `%s`: vector name cannot contain \"%s\" char", name, c)
		}
	}
	return nil
}

func checkVectorSize(field string, size uint64) error {
	if size < 1 || size > maxVectorSize {
		return validation(rule{field, fmt.Sprintf("value %d invalid, must be from 1 to %d", size, maxVectorSize)})
	}
	return nil
}

// atLeastOne is the rule for limits and time-outs that were given.
func atLeastOne[N uint32 | uint64](field string, given *N) error {
	if given != nil && *given < 1 {
		return validation(rule{field, "value 0 invalid, must be 1 or larger"})
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
