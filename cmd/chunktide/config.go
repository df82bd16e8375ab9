package main

import (
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the settings as they are after file, environment and flags, secrets as ***",
		Long: `Config prints every setting with the value that a command would take, as a YAML file of
settings. A secret that is set reads ***, so that the output may be shown to others.

It reads the settings and checks no more than that they can be read; chunktide doctor tries
them.`,
		Example: `  chunktide config --config chunktide.yaml
  chunktide config -o json | jq .kafka.batch
  diff <(chunktide config) <(chunktide config -c chunktide.yaml)   # what differs from the defaults`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.settings()
			if err != nil {
				return err
			}
			if a.json() {
				tree, err := cfg.Tree()
				if err != nil {
					return err
				}
				return a.printJSON(tree)
			}
			shown, err := cfg.YAML()
			if err != nil {
				return err
			}
			_, err = a.io.out.Write(shown)
			return err
		},
	}
}
