package client

import (
	"fmt"
	"log"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
)

// effect is a frame that changes something: it is sent again in each session until a result says that it is stored.
type effect struct {
	frame  *agentv1.OpenSessionRequest
	result chan *agentv1.Result // nil: nobody waits for it
}

func (a *Agent) hello() *agentv1.Hello {
	report := a.Report()
	a.mu.Lock()
	defer a.mu.Unlock()
	hello := &agentv1.Hello{
		InstanceId: a.instance, Client: "example-go/2", Report: a.withTasks(report),
		Features: []string{"messages/1"}, MaxInFlight: uint32(max(8, a.Concurrency)),
	}
	for _, held := range a.held {
		hello.Held = append(hello.Held, held.work)
	}
	for _, effect := range a.unanswered { // finished, and the service does not know it yet
		update := effect.frame.GetDeliveryUpdate()
		if update != nil && a.held[update.Work.DeliveryId] == nil && len(hello.Held) < 1024 {
			hello.Held = append(hello.Held, update.Work)
		}
	}
	return hello
}

// withTasks adds to a report how far the tasks are.
func (a *Agent) withTasks(report *agentv1.Report) *agentv1.Report {
	for _, held := range a.held {
		if held.progress != nil && len(report.Progress) < 256 {
			report.Progress = append(report.Progress, held.progress)
		}
	}
	a.reported, a.progressed = time.Now(), false
	return report
}

// tellProgress reports unprompted that tasks are further, at most once a second.
func (a *Agent) tellProgress() {
	a.mu.Lock()
	due := a.progressed && a.epoch != 0 && time.Since(a.reported) > time.Second
	a.mu.Unlock()
	if due {
		a.heartbeat(&agentv1.Heartbeat{})
	}
}

func (a *Agent) heartbeat(beat *agentv1.Heartbeat) {
	report := a.Report()
	a.mu.Lock()
	defer a.mu.Unlock()
	beat.Report = a.withTasks(report)
	a.upLocked(&agentv1.OpenSessionRequest{Frame: &agentv1.OpenSessionRequest_Heartbeat{Heartbeat: beat}})
}

func (a *Agent) welcome(welcome *agentv1.Welcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, work := range welcome.Revoked {
		a.revoke(work)
	}
	a.epoch, a.lease, a.cutOff = welcome.Epoch, welcome.Lease.AsDuration(), false
	for _, effect := range a.unanswered {
		a.upLocked(effect.frame)
	}
	fmt.Printf("connected epoch=%d\n", welcome.Epoch)
}

func (a *Agent) answerPing(ping *agentv1.Ping, received time.Time) {
	a.mu.Lock()
	a.cutOff = false
	if ping.Lease != nil {
		a.lease = ping.Lease.AsDuration()
	}
	a.mu.Unlock()
	beat := &agentv1.Heartbeat{Echo: ping.Echo, AgentTime: timestamppb.Now(), Held: durationpb.New(time.Since(received))}
	a.heartbeat(beat)
}

// post sends a frame now, or with the next welcome.
func (a *Agent) post(effect *effect) {
	a.unanswered = append(a.unanswered, effect)
	if a.epoch != 0 {
		a.upLocked(effect.frame)
	}
}

// answered is told what became of a frame.
func (a *Agent) answered(result *agentv1.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, effect := range a.unanswered {
		if effect.frame.FrameId != result.FrameId {
			continue
		}
		if result.RetryAfter != nil { // not now, for example while the store is away
			time.AfterFunc(result.RetryAfter.AsDuration(), func() { a.sendAgain(effect) })
			return
		}
		a.unanswered = append(a.unanswered[:i:i], a.unanswered[i+1:]...)
		switch {
		case effect.result != nil:
			effect.result <- result
		case result.Code != 0 && result.Reason != "DELIVERY_UNKNOWN" && result.Reason != "ATTEMPT_STALE":
			log.Print("refused ", result.Reason, " ", result.Detail)
		}
		return
	}
}

func (a *Agent) sendAgain(effect *effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, one := range a.unanswered {
		if one == effect && a.epoch != 0 {
			a.upLocked(effect.frame)
		}
	}
}

// up hands a frame to the goroutine that sends: a stream is not safe for two.
func (a *Agent) up(frame *agentv1.OpenSessionRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.upLocked(frame)
}

func (a *Agent) upLocked(frame *agentv1.OpenSessionRequest) {
	a.queue = append(a.queue, frame)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Agent) queued() []*agentv1.OpenSessionRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	frames := a.queue
	a.queue = nil
	return frames
}
