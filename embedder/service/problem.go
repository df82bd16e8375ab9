package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"chunktide/chunk"
)

// The codes of errors, beside the reasons of [chunk.Reason].
const (
	codeInvalid      = "invalid_value"
	codeTooLarge     = "request_too_large"
	codeUnauthorized = "invalid_api_key"
	codeNoModel      = "model_not_found"
	codeNotLoaded    = "model_not_loaded"
	codeNoIndex      = "index_unavailable"
	codeBusy         = "overloaded"
	codeStopping     = "stopping"
	codeTimeout      = "timeout"
	codeFailed       = "encoder_failed"
)

// problem is an answer other than 200.
type problem struct {
	status  int
	code    string
	param   string
	message string
	after   time.Duration // Retry-After, if not 0
	// rejected are the texts that were refused, if it was for them.
	rejected []rejected
	// cause is for the log.
	cause error
}

func (p *problem) Error() string { return p.message }

func (p *problem) Unwrap() error { return p.cause }

// rejected is a text that the encoder refuses; a client that knows Chunktide
// leaves it out and asks again.
type rejected struct {
	Index   int    `json:"index"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func invalid(param, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, code: codeInvalid, param: param, message: fmt.Sprintf(format, args...)}
}

// statusGone is what nginx logs for a caller that went away; nobody sees it
// but the metrics.
const statusGone = 499

// problemOf classes whatever went wrong.
func problemOf(err error) *problem {
	var p *problem
	var busy *busyError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &busy):
		return &problem{status: http.StatusTooManyRequests, code: codeBusy, after: busy.after, message: busy.Error()}
	case errors.Is(err, errStopping):
		return &problem{status: http.StatusServiceUnavailable, code: codeStopping, after: shortestWait, message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{status: http.StatusServiceUnavailable, code: codeTimeout, after: shortestWait,
			message: "the encoder did not come to this request in time (serve.request_timeout): send less, or come back later"}
	case errors.Is(err, context.Canceled):
		return &problem{status: statusGone, code: codeTimeout, message: "the caller went away"}
	default:
		return &problem{status: http.StatusInternalServerError, code: codeFailed, cause: err,
			message: "the encoder failed; the service's log has the error"}
	}
}

// refusal is the answer to a request with texts that the encoder refuses. An
// error that is not permanent is the encoder's fault.
func refusal(errs map[int]error, param string) error {
	p := &problem{status: http.StatusUnprocessableEntity, param: param}
	for i, err := range errs {
		reason, permanent := chunk.ReasonOf(err)
		if !permanent {
			return err
		}
		p.rejected = append(p.rejected, rejected{Index: i, Reason: string(reason), Message: err.Error()})
	}
	slices.SortFunc(p.rejected, func(a, b rejected) int { return a.Index - b.Index })
	first := p.rejected[0]
	p.code = first.Reason
	if first.Reason == string(chunk.ReasonTooManyTokens) {
		p.status = http.StatusRequestEntityTooLarge
	}
	var more string
	if n := len(p.rejected) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	p.message = fmt.Sprintf("%s %d%s: %s", param, first.Index, more, strings.TrimSpace(first.Message))
	return p
}
