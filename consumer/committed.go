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
	client, err := connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	there := false
	out := map[string]map[int32]int64{}
	for _, topic := range cfg.Topics {
		out[topic] = map[int32]int64{}
	}
	for _, group := range groups {
		committed, err := adm.FetchOffsets(ctx, group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return nil, fmt.Errorf("ask what group %s has committed: %w", group, err)
		}
		committed.Each(func(o kadm.OffsetResponse) {
			if at := out[o.Topic]; at != nil && o.Err == nil && o.At >= 0 {
				at[o.Partition] = max(at[o.Partition], o.At)
				there = true
			}
		})
		described, err := adm.DescribeGroups(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("ask for the members of group %s: %w", group, err)
		}
		there = there || len(described[group].Members) > 0
	}
	if !there {
		return nil, nil
	}
	return out, nil
}
