package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Version prints the version of this binary, as the tag or commit that it was built from, and
that of Go. Say both in a bug report.`,
		Example: `  chunktide version
  chunktide version -o json | jq -r .version`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(map[string]string{"version": version, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(a.io.out, "chunktide %s (%s)\n", version, runtime.Version())
			return err
		},
	}
}
