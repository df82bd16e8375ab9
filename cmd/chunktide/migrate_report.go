package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"chunktide/migrate"
)

func (a *app) printMigratePlan(p migratePlan, costs bool) error {
	if a.json() {
		return a.printJSON(p)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "index\t%s, served by %s (%s)\n", p.Index, p.Served.Name, p.Served.Model.Version)
	fmt.Fprintf(table, "new collection\t%s (%s)\n", p.Collection, p.Survey.Model)
	fmt.Fprintf(table, "group\t%s\n", p.Group)
	fmt.Fprintf(table, "filled from\tthe %s: %s\n", p.Source, p.Because)
	fmt.Fprintf(table, "space\t%.1f MB of vectors, beside %.1f MB of the old ones; text and metadata once more\n", float64(p.VectorBytes)/1e6, float64(p.Served.VectorBytes)/1e6)
	if err := table.Flush(); err != nil {
		return err
	}
	return a.printSurvey(p.Survey, costs)
}

func (a *app) printPromotion(p migrate.Promotion) error {
	if a.json() {
		return a.printJSON(p)
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	for _, g := range p.Gates {
		word := "holds"
		if !g.OK {
			word = "FAILS"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", g.Name, word, g.Detail)
	}
	if err := table.Flush(); err != nil || !p.Promoted {
		return err
	}
	_, err := fmt.Fprintf(a.io.out, "The index is served by %s (%s) now; %s is kept level by its workers, for a rollback.\n",
		p.Collection.Name, p.Collection.Model.Version, p.From)
	return err
}

func (a *app) printRolled(index string, r migrate.Rolled) error {
	if a.json() {
		return a.printJSON(r)
	}
	_, err := fmt.Fprintf(a.io.out, "Index %s is served by %s again, which is %s behind the topic.\n", index, r.To, numberOf(r.Lag, "record"))
	return err
}

func (a *app) printMigrations(all []migrate.Status) error {
	if a.json() {
		return a.printJSON(all)
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(a.io.out, "The index has no migration.")
		return err
	}
	table := tabwriter.NewWriter(a.io.out, 0, 0, 2, ' ', 0)
	for _, s := range all {
		fmt.Fprintf(table, "collection\t%s (%s)\n", s.Collection.Name, s.Collection.Model.Version)
		fmt.Fprintf(table, "phase\t%s, filled from the %s, begun on %s\n", s.Phase, s.Source, s.Begun.Format(time.RFC3339))
		fmt.Fprintf(table, "points\t%d, %d of them tombstones\n", s.Collection.Points, s.Collection.Tombstones)
		fmt.Fprintf(table, "group\t%s, %s, %s behind\n", s.Group, numberOf(s.Members, "member"), numberOf(s.Lag, "record"))
		if s.Old != nil {
			fmt.Fprintf(table, "old\t%s (%s), %s, %s behind\n", s.Old.Name, s.Old.Model.Version, numberOf(s.Old.Points, "point"), numberOf(s.OldLag, "record"))
		} else {
			fmt.Fprintf(table, "old\t%s, which was dropped\n", s.From)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
