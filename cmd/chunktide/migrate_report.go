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
	row := rows(table)
	row("index", "%s, served by %s (%s)", p.Index, p.Served.Name, p.Served.Model.Version)
	row("new collection", "%s (%s)", p.Collection, p.Survey.Model)
	row("group", "%s", p.Group)
	row("filled from", "the %s: %s", p.Source, p.Because)
	row("space", "%.1f MB of vectors, beside %.1f MB of the old ones; text and metadata once more", float64(p.VectorBytes)/1e6, float64(p.Served.VectorBytes)/1e6)
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
		cells(table, g.Name, word, g.Detail)
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
	row := rows(table)
	for _, s := range all {
		row("collection", "%s (%s)", s.Collection.Name, s.Collection.Model.Version)
		row("phase", "%s, filled from the %s, begun on %s", s.Phase, s.Source, s.Begun.Format(time.RFC3339))
		row("points", "%d, %d of them tombstones", s.Collection.Points, s.Collection.Tombstones)
		row("group", "%s, %s, %s behind", s.Group, numberOf(s.Members, "member"), numberOf(s.Lag, "record"))
		if s.Old != nil {
			row("old", "%s (%s), %s, %s behind", s.Old.Name, s.Old.Model.Version, numberOf(s.Old.Points, "point"), numberOf(s.OldLag, "record"))
		} else {
			row("old", "%s, which was dropped", s.From)
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
