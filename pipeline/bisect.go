package pipeline

import (
	"fmt"

	"chunktide/chunk"
)

// bisect runs do over all of 0 … n-1 and, when that is refused for good, over
// ever smaller parts, until each culprit stands alone. It returns the culprits
// with their errors; everything else was done. An error that is not permanent
// ends the search and is returned.
//
// When all of several items are refused, the items are not to blame: the
// error is fatal, lest a wrong schema or a broken model empties the topic
// into the dead letters.
func bisect(n int, do func(items []int) error) (map[int]error, error) {
	if n == 0 {
		return nil, nil
	}
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	culprits := map[int]error{}
	if err := bisectPart(items, do, culprits); err != nil {
		return nil, err
	}
	if n > 1 && len(culprits) == n {
		return nil, fmt.Errorf("all %d items were refused, which no single one explains; first: %v", n, culprits[0])
	}
	return culprits, nil
}

func bisectPart(items []int, do func(items []int) error, culprits map[int]error) error {
	err := do(items)
	if err == nil {
		return nil
	}
	if _, permanent := chunk.ReasonOf(err); !permanent {
		return err
	}
	if len(items) == 1 {
		culprits[items[0]] = err
		return nil
	}
	half := len(items) / 2
	if err := bisectPart(items[:half], do, culprits); err != nil {
		return err
	}
	return bisectPart(items[half:], do, culprits)
}
