package repo

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/semaphore"

	"strongroom/internal/clock"
)

// conversation is the destination as a source speaks to it: a Session, or whatever carries the messages to one and the
// answers back. After an error that wraps ErrRepeat the message is sent again.
type conversation interface {
	Compare(context.Context, Compare) (Need, error)
	Offer(context.Context, Offer) (Need, error)
	Data(context.Context, Data) error
	Pages(context.Context, Pages) error
	Seal(context.Context, Seal) (Receipt, error)
	Credit() int64
}

const (
	// repeats is how often a message is sent before the source gives up: about two minutes.
	repeats   = 20
	repeatMin = 20 * time.Millisecond
	repeatMax = 10 * time.Second
)

// sender keeps a source within the rules: numbers, repetitions, credit. Safe for concurrent use.
type sender struct {
	to      conversation
	clock   clock.Clock
	credit  int64
	room    *semaphore.Weighted
	streams uint8
}

func newSender(to conversation, c clock.Clock) *sender {
	return &sender{to: to, clock: c, credit: to.Credit(), room: semaphore.NewWeighted(to.Credit())}
}

// outbound is one stream of messages. It is for one goroutine.
type outbound struct {
	s     *sender
	batch Batch
}

// stream begins a stream. At most MaxStreams can be begun, one goroutine at a time.
func (s *sender) stream() *outbound {
	o := &outbound{s: s, batch: Batch{Stream: s.streams}}
	s.streams++
	return o
}

// again sends a message until it is answered.
func (s *sender) again(ctx context.Context, send func() error) error {
	wait := repeatMin
	for n := 1; ; n++ {
		err := send()
		if err == nil || !errors.Is(err, ErrRepeat) || n == repeats {
			return err
		}
		if n > 1 { // the first time at once
			select {
			case <-s.clock.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			wait = min(2*wait, repeatMax)
		}
	}
}

// say sends the next message of a stream.
func (o *outbound) say(ctx context.Context, send func(Batch) error) error {
	err := o.s.again(ctx, func() error { return send(o.batch) })
	if err == nil {
		o.batch.Number++
	}
	return err
}

func (o *outbound) compare(ctx context.Context, m Compare) (n Need, err error) {
	err = o.say(ctx, func(b Batch) (err error) { m.Batch = b; n, err = o.s.to.Compare(ctx, m); return err })
	return n, err
}

func (o *outbound) offer(ctx context.Context, m Offer) (n Need, err error) {
	err = o.say(ctx, func(b Batch) (err error) { m.Batch = b; n, err = o.s.to.Offer(ctx, m); return err })
	return n, err
}

func (o *outbound) data(ctx context.Context, m Data) error {
	return o.frames(ctx, m.Frames, func(b Batch) error { m.Batch = b; return o.s.to.Data(ctx, m) })
}

func (o *outbound) pages(ctx context.Context, m Pages) error {
	return o.frames(ctx, m.Frames, func(b Batch) error { m.Batch = b; return o.s.to.Pages(ctx, m) })
}

// frames sends a message within the credit.
func (o *outbound) frames(ctx context.Context, frames []Frame, send func(Batch) error) error {
	var bytes int64
	for i := range frames {
		bytes += int64(len(frames[i].Stored))
	}
	if err := o.s.room.Acquire(ctx, min(bytes, o.s.credit)); err != nil {
		return context.Cause(ctx)
	}
	defer o.s.room.Release(min(bytes, o.s.credit))
	return o.say(ctx, send)
}

func (s *sender) seal(ctx context.Context, m Seal) (r Receipt, err error) {
	err = s.again(ctx, func() (err error) { r, err = s.to.Seal(ctx, m); return err })
	return r, err
}
