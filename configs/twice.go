package configs

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// keyPlace is where a file has a key.
type keyPlace struct {
	name string
	line int
}

// noKeyTwice refuses a file that gives a setting twice. The YAML library sees
// that only where both are written alike; of group and Group, or kafka.group
// and group in the section kafka, viper would take one without a word.
func noKeyTwice(node *yaml.Node, at string, seen map[string]keyPlace) error {
	for i, child := range node.Content {
		path := fmt.Sprint(at, ".", i) // an entry of a list, or the file itself
		switch {
		case node.Kind == yaml.DocumentNode:
			path = at
		case node.Kind == yaml.MappingNode && i%2 == 1:
			key := node.Content[i-1]
			path = strings.TrimPrefix(at+"."+strings.ToLower(key.Value), ".")
			if key.Kind != yaml.ScalarNode {
				break // which no setting's is
			}
			if before, twice := seen[path]; twice {
				return errForm(told(keyPlace{key.Value, key.Line}, before))
			}
			seen[path] = keyPlace{key.Value, key.Line}
		}
		if err := noKeyTwice(child, path, seen); err != nil {
			return err
		}
	}
	return nil
}

// told names the two keys if settings have them: what is another may be a
// secret that got where a key belongs.
func told(second, first keyPlace) string {
	name := func(k keyPlace) string {
		for key := range leavesOf(reflect.TypeFor[Config](), "") {
			if strings.Contains("."+key+".", "."+strings.ToLower(k.name)+".") {
				return "the key " + k.name
			}
		}
		return "a key"
	}
	which := "which line %d has too"
	if first.name != second.name {
		which = "which is " + name(first) + " of line %d"
	}
	return fmt.Sprintf("line %d has %s, "+which+"; keep one of them", second.line, name(second), first.line)
}
