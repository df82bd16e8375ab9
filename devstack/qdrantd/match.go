package qdrantd

import (
	"slices"
	"strings"
	"unicode"

	pb "github.com/qdrant/go-client/qdrant"
)

// compileMatch makes the test of one value that is no array.
func (c *collection) compileMatch(p path, given *pb.Match) (func(any) bool, error) {
	switch m := given.GetMatchValue().(type) {
	case *pb.Match_Keyword:
		return equals(m.Keyword), nil
	case *pb.Match_Integer:
		return equals(m.Integer), nil
	case *pb.Match_Boolean:
		return equals(m.Boolean), nil
	case *pb.Match_Keywords:
		return oneOf(m.Keywords.GetStrings()), nil
	case *pb.Match_Integers:
		return oneOf(m.Integers.GetIntegers()), nil
	case *pb.Match_ExceptKeywords:
		return noneOf(m.ExceptKeywords.GetStrings()), nil
	case *pb.Match_ExceptIntegers:
		return noneOf(m.ExceptIntegers.GetIntegers()), nil
	case *pb.Match_Text:
		return c.textTest(p, m.Text, hasAllWords, strings.Contains), nil
	case *pb.Match_Phrase:
		return c.textTest(p, m.Phrase, hasPhrase, strings.Contains), nil
	case *pb.Match_TextAny:
		return c.textTest(p, m.TextAny, hasAnyWord, containsAnyWord), nil
	default:
		return nil, invalid("Malformed Match condition")
	}
}

// equals tells 1 from 1.0: an integer condition never matches a float.
func equals[T comparable](want T) func(any) bool {
	return func(value any) bool {
		v, ok := value.(T)
		return ok && v == want
	}
}

func oneOf[T comparable](wanted []T) func(any) bool {
	set := asSet(wanted)
	return func(value any) bool {
		v, ok := value.(T)
		return ok && set[v]
	}
}

// noneOf holds for values of other types too, but not for null.
func noneOf[T comparable](unwanted []T) func(any) bool {
	set := asSet(unwanted)
	return func(value any) bool {
		v, ok := value.(T)
		return value != nil && (!ok || !set[v])
	}
}

func asSet[T comparable](list []T) map[T]bool {
	set := make(map[T]bool, len(list))
	for _, v := range list {
		set[v] = true
	}
	return set
}

// textTest compares words where the path has a text index, else substrings.
func (c *collection) textTest(p path, query string, words func(text, query []string) bool, substrings func(text, query string) bool) func(any) bool {
	index, ok := c.indexes[p.String()]
	if ok && index.GetDataType() == pb.PayloadSchemaType_Text {
		params := index.GetParams().GetTextIndexParams()
		wanted := splitWords(query, params)
		return func(value any) bool {
			text, ok := value.(string)
			return ok && len(wanted) > 0 && words(splitWords(text, params), wanted)
		}
	}
	return func(value any) bool {
		text, ok := value.(string)
		return ok && substrings(text, query)
	}
}

// splitWords is the word tokenizer of the real server's text index, which is
// its default; whitespace is the other one here.
func splitWords(text string, params *pb.TextIndexParams) []string {
	split := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }
	if params.GetTokenizer() == pb.TokenizerType_Whitespace {
		split = unicode.IsSpace
	}
	if params == nil || params.Lowercase == nil || *params.Lowercase {
		text = strings.ToLower(text)
	}
	return strings.FieldsFunc(text, split)
}

func hasAllWords(text, query []string) bool {
	return !slices.ContainsFunc(query, func(word string) bool { return !slices.Contains(text, word) })
}

func hasAnyWord(text, query []string) bool {
	return slices.ContainsFunc(query, func(word string) bool { return slices.Contains(text, word) })
}

func hasPhrase(text, query []string) bool {
	for i := 0; i+len(query) <= len(text); i++ {
		if slices.Equal(text[i:i+len(query)], query) {
			return true
		}
	}
	return false
}

func containsAnyWord(text, query string) bool {
	return slices.ContainsFunc(strings.Fields(query), func(word string) bool { return strings.Contains(text, word) })
}
