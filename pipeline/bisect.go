package pipeline

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"chunktide/chunk"
)

// refusals counts items refused for good since the last one that was not.
// After refusalsInARow the items are no longer thought to be at fault: a
// wrong schema or a broken model must not empty a topic into the dead letters.
type refusals struct{ inARow atomic.Int64 }

const refusalsInARow = 16

// bisect runs do over all of 0 … n-1 and, when that is refused for good, over
// ever smaller parts, until each culprit stands alone. It returns the culprits
// with their errors; everything else was done. An error that is not permanent
// ends the search and is returned. Text is what an item's errors must not quote.
func (r *refusals) bisect(n int, text func(item int) string, do func(items []int) error) (map[int]error, error) {
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
	for item, err := range culprits {
		culprits[item] = withoutText(err, text(item))
	}
	if len(culprits) < n {
		r.inARow.Store(0)
		return culprits, nil
	}
	if inARow := r.inARow.Add(int64(n)); inARow >= refusalsInARow {
		// Not wrapped: the whole is not a permanent error of one event.
		return nil, fmt.Errorf("%d in a row were refused and none accepted, which no single one explains: "+
			"check the collection and the model; the last refusal: %s", inARow, culprits[n-1].Error())
	}
	return culprits, nil
}

// quoteLength is how much of a text an error may have by chance. A text that is
// no longer than half of it counts as none.
const quoteLength = 16

var errQuotes = errors.New("refused, in words that quote the text and are left out here")

// withoutText leaves out what an index or a service said about a text if it
// quotes from it: the error goes to the log and to the dead letters' headers,
// and chunk text to neither.
func withoutText(err error, text string) error {
	said := err.Error()
	quotes := len(text) > quoteLength/2 && strings.Contains(said, text)
	for i := 0; !quotes && i+quoteLength <= len(said); i++ {
		quotes = strings.Contains(text, said[i:i+quoteLength])
	}
	if !quotes {
		return err
	}
	reason, _ := chunk.ReasonOf(err)
	return chunk.Permanent(reason, errQuotes)
}

// guard makes a panic a refusal, so that the bisection finds what brought it
// about: one text or point that nobody thought of must not stop its partition.
// What was panicked with is not logged, since it may hold the text.
func (p *Pipeline) guard(who string, do func() error) (err error) {
	defer func() {
		if recover() != nil {
			p.logger.Error(who+" panicked, which is a bug: please report it", "stack", string(debug.Stack()))
			err = chunk.Permanentf(chunk.ReasonPanicked, "%s panicked: the worker's log has the stack", who)
		}
	}()
	return do()
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
