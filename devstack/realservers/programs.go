package realservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build compiles a program of this module to the file out; tags are Go's build
// tags, separated by commas.
func Build(ctx context.Context, out, pkg, tags string) error {
	if said, err := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", out, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, said)
	}
	return nil
}

// QdrantdPackage is the embedded Qdrant as a program, for [Build].
const QdrantdPackage = "chunktide/prove/cmd/qdrantd"

// StartQdrantd starts the embedded Qdrant as a process of its own, on a port
// that it chooses, and returns when it serves at address, its gRPC port. Bin
// is the program; name is as in [CommandOptions].
func StartQdrantd(ctx context.Context, dir, name, bin string) (c *Command, address string, err error) {
	c, err = StartCommand(ctx, dir, CommandOptions{
		Name: name, Bin: bin,
		Ready: func(context.Context) error {
			log, err := os.ReadFile(filepath.Join(dir, name+".log"))
			if err != nil {
				return err
			}
			line, whole := strings.CutSuffix(string(log), "\n")
			rest, found := strings.CutPrefix(line, "listening on ")
			if !whole || !found {
				return errors.New("it does not listen yet")
			}
			address = rest
			return nil
		},
	})
	return c, address, err
}
