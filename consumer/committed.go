package consumer

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Committed tells how far groups have come in cfg's topics: by topic and
// partition the first offset that none of them has committed, 0 for none. It is
// nil if none of the groups is there: none has committed anything, or has a
// member.
func Committed(ctx context.Context, cfg Config, groups []string) (map[string]map[int32]int64, error) {
	there := false
	out := map[string]map[int32]int64{}
	for _, topic := range cfg.Topics {
		out[topic] = map[int32]int64{}
	}
	for _, name := range groups {
		cfg.Group = name
		found, err := committedBy(ctx, cfg, out)
		if err != nil {
			return nil, err
		}
		there = there || found
	}
	if !there {
		return nil, nil
	}
	return out, nil
}

// committedBy raises out to what cfg.Group has committed, and reports whether
// there is such a group.
func committedBy(ctx context.Context, cfg Config, out map[string]map[int32]int64) (there bool, err error) {
	g, err := OpenGroup(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer g.Close()
	committed, err := g.adm.FetchOffsetsForTopics(ctx, cfg.Group, cfg.Topics...)
	if errors.Is(err, kerr.GroupIDNotFound) {
		committed, err = nil, nil
	}
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return false, g.refused("ask what was committed by", err)
	}
	committed.Each(func(o kadm.OffsetResponse) {
		if at := out[o.Topic]; at != nil && o.At >= 0 {
			at[o.Partition], there = max(at[o.Partition], o.At), true
		}
	})
	members, err := g.Members(ctx)
	if err != nil {
		return false, fmt.Errorf("ask how far it has come: %w", err)
	}
	return there || len(members) > 0, nil
}
