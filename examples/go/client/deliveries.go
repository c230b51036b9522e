package client

import (
	"cmp"
	"context"
	"errors"
	"time"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
)

const (
	maxHeld    = 64    // deliveries that are worked on at a time; beyond that they are declined for now
	remembered = 1_000 // outcomes, so that a delivery that comes again is not carried out again
)

// Held is a delivery that is being worked on. It may come again with a higher attempt: then that one is answered.
type Held struct {
	Message *agentv1.Message // nil for a command
	Command *agentv1.Command
	Task    *agentv1.Task

	frame    *agentv1.Delivery
	work     *agentv1.Work
	accepted bool
	spent    map[string]int64  // all that this attempt at a task has spent
	progress *agentv1.Progress // how far a task is
	since    time.Time
	revoke   context.CancelFunc
	// Messages of one key are handled one after the other; calls have no order: their callers wait for them.
	key      string
	before   <-chan struct{} // closed when the one before is finished; nil: there is none
	finished chan struct{}
}

// Declined refuses a delivery; one that is retryable comes again later. After any other error a message comes again, a
// few times, and a call has failed: its caller is told.
type Declined struct {
	Why       string
	Retryable bool
}

func (d Declined) Error() string { return d.Why }

// take begins to work on a delivery, on a goroutine of its own, unless it is known by delivery id and attempt.
func (a *Agent) take(frame *agentv1.Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, attempt := frame.Work.DeliveryId, frame.Work.Attempt
	if done := a.done[id]; done != nil { // its outcome did not arrive, or was lost with the store: the same again
		if attempt >= done.Work.Attempt {
			a.tell(&agentv1.DeliveryUpdate{
				Work: frame.Work, State: done.State, Output: done.Output, Error: done.Error, Spent: done.Spent,
			})
		}
		return
	}
	if held := a.held[id]; held != nil { // it goes on, and answers the newest attempt
		if attempt > held.work.Attempt {
			held.work = frame.Work
			if held.accepted {
				a.accept(held)
			}
		}
		return
	}
	if a.full(frame) {
		declined := agentv1.DeliveryUpdate_STATE_DECLINED
		a.tell(&agentv1.DeliveryUpdate{Work: frame.Work, State: declined, Error: "busy", Retryable: true})
		return
	}
	ctx, revoke := context.WithCancel(context.Background())
	if frame.TimeLeft != nil {
		ctx, revoke = context.WithTimeout(ctx, frame.TimeLeft.AsDuration())
	}
	held := &Held{
		Message: frame.GetMessage(), Command: frame.GetCommand(), Task: frame.GetTask(),
		frame: frame, work: frame.Work, since: time.Now(), revoke: revoke, finished: make(chan struct{}),
	}
	if held.Message != nil && !frame.WantsAnswer {
		held.key = cmp.Or(frame.OrderingKey, held.Message.Source)
		if last := a.last[held.key]; last != nil {
			held.before = last.finished
		}
		a.last[held.key] = held
	}
	a.held[id] = held
	if held.Task != nil {
		a.accept(held) // at once: it runs from now on
	}
	go a.carryOut(ctx, held)
}

// full says whether there is no room for a delivery.
func (a *Agent) full(frame *agentv1.Delivery) bool {
	if frame.GetTask() == nil {
		return len(a.held) >= maxHeld && frame.GetCommand() == nil
	}
	tasks := 0
	for _, held := range a.held {
		if held.Task != nil {
			tasks++
		}
	}
	return tasks >= max(a.Concurrency, 1) || a.drained || a.Work == nil
}

func (a *Agent) carryOut(ctx context.Context, held *Held) {
	defer held.revoke()
	defer a.finished(held)
	if held.before != nil {
		<-held.before
	}
	if ctx.Err() != nil {
		return // taken back, or its time was over before its turn came: the service knows
	}
	update := &agentv1.DeliveryUpdate{State: agentv1.DeliveryUpdate_STATE_SUCCEEDED}
	output, err := a.outcome(ctx, held)
	var declined Declined
	switch {
	case err == nil:
		update.Output = output
	case errors.As(err, &declined):
		update.State, update.Retryable = agentv1.DeliveryUpdate_STATE_DECLINED, declined.Retryable
	default:
		update.State = agentv1.DeliveryUpdate_STATE_FAILED
		update.Retryable = held.Message != nil && !held.frame.WantsAnswer || held.Task != nil && !useless(err)
	}
	if err != nil {
		update.Error = firstCharacters(err.Error(), 4096)
	}
	a.finish(held, update)
	if held.Command.GetType() == "stop" {
		a.leave()
	}
}

func (a *Agent) outcome(ctx context.Context, held *Held) (*agentv1.Payload, error) {
	switch {
	case held.Command != nil:
		return nil, a.obey(ctx, held)
	case held.Task != nil:
		return a.work(ctx, held)
	case held.Message == nil || a.Handle == nil:
		return nil, Declined{Why: "this agent takes nothing of the kind"}
	}
	ctx, span := processing(ctx, held.frame)
	answer, err := a.Handle(ctx, held)
	endSpan(span, err)
	if err != nil || answer == nil {
		return nil, err
	}
	return Payload(answer)
}

func (a *Agent) finished(held *Held) {
	close(held.finished)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last[held.key] == held {
		delete(a.last, held.key)
	}
}

func (a *Agent) finish(held *Held, update *agentv1.DeliveryUpdate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := held.work.DeliveryId
	if a.held[id] != held {
		return // taken back meanwhile
	}
	delete(a.held, id)
	update.Work, update.Spent = held.work, held.spent
	if !update.Retryable {
		a.done[id] = update
		a.doneOrder = append(a.doneOrder, id)
		if len(a.doneOrder) > remembered {
			delete(a.done, a.doneOrder[0])
			a.doneOrder = a.doneOrder[1:]
		}
	}
	a.tell(update)
}

// obey carries a command out.
func (a *Agent) obey(ctx context.Context, held *Held) error {
	switch order := held.Command.Type; order {
	case "resume":
		a.setDrained(false)
	case "drain", "stop":
		a.setDrained(true)
		for len(a.stillHeld()) > 0 && ctx.Err() == nil { // finishes what it holds
			time.Sleep(50 * time.Millisecond)
		}
	case "quarantine", "dependency_lost", "dependency_recovered": // notices
	default:
		return Declined{Why: "does not know the order " + order}
	}
	return nil
}

func (a *Agent) setDrained(drained bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drained = drained
}

// accept says that a delivery is worked on and takes longer.
func (a *Agent) accept(held *Held) {
	held.accepted = true
	update := &agentv1.DeliveryUpdate{Work: held.work, State: agentv1.DeliveryUpdate_STATE_ACCEPTED, Spent: held.spent}
	if held.Command != nil {
		update.Running = a.running()
	}
	a.upLocked(&agentv1.OpenSessionRequest{Frame: &agentv1.OpenSessionRequest_DeliveryUpdate{DeliveryUpdate: update}})
}

func (a *Agent) stillHeld() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running()
}

// running are the types of messages, and the tasks, that are worked on.
func (a *Agent) running() (names []string) {
	for _, held := range a.held {
		switch {
		case len(names) == 64 || held.Command != nil:
		case held.Task != nil:
			names = append(names, "task "+held.Task.Capability+" "+held.Task.Id)
		default:
			names = append(names, held.Message.GetType())
		}
	}
	return names
}

// revoke stops an attempt: nobody wants its outcome any more.
func (a *Agent) revoke(work *agentv1.Work) {
	is := func(other *agentv1.Work) bool {
		return other.GetDeliveryId() == work.GetDeliveryId() && other.GetAttempt() == work.GetAttempt()
	}
	if held := a.held[work.GetDeliveryId()]; held != nil && is(held.work) {
		delete(a.held, work.GetDeliveryId())
		held.revoke()
	}
	kept := a.unanswered[:0:0]
	for _, effect := range a.unanswered {
		if update := effect.frame.GetDeliveryUpdate(); update == nil || !is(update.Work) {
			kept = append(kept, effect)
		}
	}
	a.unanswered = kept
}

func (a *Agent) tell(update *agentv1.DeliveryUpdate) {
	frame := &agentv1.OpenSessionRequest_DeliveryUpdate{DeliveryUpdate: update}
	a.post(&effect{frame: &agentv1.OpenSessionRequest{FrameId: newID(), Frame: frame}})
}

func firstCharacters(text string, count int) string {
	if characters := []rune(text); len(characters) > count {
		return string(characters[:count])
	}
	return text
}
