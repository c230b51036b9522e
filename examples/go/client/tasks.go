package client

import (
	"context"
	"errors"
	"maps"
	"sync"

	"google.golang.org/grpc/codes"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
)

// Task is a task that this agent has.
type Task struct {
	*agentv1.Task

	agent    *Agent
	held     *Held
	spending sync.Mutex
}

// Permanent is a failure after which it is of no use to try the task again. After any other error it is tried again, as its
// retry policy says.
type Permanent struct{ Why string }

func (p Permanent) Error() string { return p.Why }

// BudgetSpent says that there is not so much left to spend.
var BudgetSpent = errors.New("not so much is left of the budget")

func useless(err error) bool {
	return errors.As(err, &Permanent{}) || errors.Is(err, BudgetSpent)
}

func (a *Agent) work(ctx context.Context, held *Held) (*agentv1.Payload, error) {
	ctx, span := processing(ctx, held.frame)
	output, err := a.Work(ctx, &Task{Task: held.Task, agent: a, held: held})
	endSpan(span, err)
	if err != nil || output == nil {
		return nil, err
	}
	return Payload(output)
}

// Progress tells how far the task is: with the next report, at most one a second. A total of 0 is not known.
func (t *Task) Progress(done, total uint64, name string) {
	t.agent.mu.Lock()
	defer t.agent.mu.Unlock()
	progress := &agentv1.Progress{Work: t.held.work, Done: done, Name: name}
	if total > 0 {
		progress.Total = &total
	}
	t.held.progress, t.agent.progressed = progress, true
}

// Left is what the task may still spend of a budget.
func (t *Task) Left(name string) int64 {
	t.agent.mu.Lock()
	defer t.agent.mu.Unlock()
	return t.Budgets[name] - t.Task.Spent[name] - t.held.spent[name]
}

// Spend asks to spend so much more, and returns once that is stored. It returns BudgetSpent when there is less left.
func (t *Task) Spend(ctx context.Context, name string, amount int64) error {
	t.spending.Lock() // the service is told all that was spent, so one after the other
	defer t.spending.Unlock()
	t.agent.mu.Lock()
	spent := maps.Clone(t.held.spent)
	if spent == nil {
		spent = map[string]int64{}
	}
	spent[name] += amount
	update := &agentv1.DeliveryUpdate{Work: t.held.work, State: agentv1.DeliveryUpdate_STATE_ACCEPTED, Spent: spent}
	frame := &agentv1.OpenSessionRequest_DeliveryUpdate{DeliveryUpdate: update}
	asked := &effect{
		frame: &agentv1.OpenSessionRequest{FrameId: newID(), Frame: frame}, result: make(chan *agentv1.Result, 1),
	}
	t.agent.post(asked)
	t.agent.mu.Unlock()
	select {
	case result := <-asked.result:
		switch {
		case result.Reason == "BUDGET_SPENT":
			return BudgetSpent
		case result.Code != 0:
			return &Refused{Code: codes.Code(result.Code), Reason: result.Reason, Detail: result.Detail}
		}
		t.agent.mu.Lock()
		t.held.spent = spent
		t.agent.mu.Unlock()
		return nil
	case <-ctx.Done(): // taken back, or late
		return ctx.Err()
	}
}
