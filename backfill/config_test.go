package backfill

import (
	"math"
	"strings"
	"testing"
)

func TestValidateNamesEveryMistake(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{MaxTokensPerSecond: -1, PricePerMillionTokens: math.NaN()}.Validate()
	for _, key := range []string{"batch.tokens", "batch.events", "batch.bytes", "max_tokens_per_second", "price_per_million_tokens"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
}
