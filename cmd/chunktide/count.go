package main

import "fmt"

// oneOrMore is a number with what it counts, in the form for one or for more.
func oneOrMore[N int | int32 | int64 | uint64](n N, one, more string) string {
	if n == 1 {
		return fmt.Sprint(n, " ", one)
	}
	return fmt.Sprint(n, " ", more)
}

// numberOf is oneOrMore for nouns whose plural ends in s.
func numberOf[N int | int32 | int64 | uint64](n N, noun string) string {
	return oneOrMore(n, noun, noun+"s")
}
