// Package client is an agent's side of the orchestrator: one session that is kept up, deliveries, calls, messages and
// topics. Copy it beside the client generated from proto/; the programs in this module show how it is used.
package client

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
)

// Agent is one agent. Set the exported fields, then Run.
type Agent struct {
	Server, ID string
	Spec       *agentv1.AgentSpec
	// Handle takes messages; what it returns is the answer to a call (see Payload). Its context ends when the message is
	// taken back or its time is over. Each message comes on a goroutine of its own.
	Handle func(ctx context.Context, held *Held) (any, error)
	// Work takes tasks, Concurrency (1) at a time; what it returns is the output. Its context ends when the task is taken
	// back, its time is over or the agent counts as lost.
	Work        func(ctx context.Context, task *Task) (any, error)
	Concurrency int
	// Report says how the agent is; asked for at each ping.
	Report func() *agentv1.Report

	instance string
	leave    func()           // ends Run with a goodbye
	calls    *grpc.ClientConn // of its own: calls outlive a session

	mu         sync.Mutex
	token      string
	epoch      uint64                             // 0: not attached
	opened     time.Time                          // when the stream was opened, by the monotonic clock
	heard      time.Time                          // when the service was heard last
	lease      time.Duration                      // 0 before the first welcome
	cutOff     bool                               // the lease is over: others may have our work by now
	reported   time.Time                          // when a report went last
	progressed bool                               // a task is further since then
	drained    bool                               // told to take no more work
	queue      []*agentv1.OpenSessionRequest      // frames up, for the one goroutine that sends
	wake       chan struct{}                      // there is something in it
	held       map[string]*Held                   // what is being worked on, by delivery id
	last       map[string]*Held                   // the latest message of each ordering key
	done       map[string]*agentv1.DeliveryUpdate // outcomes, so that nothing is carried out twice
	doneOrder  []string
	unanswered []*effect // sent again in each session until a result came
}

// New makes an agent that is not attached yet.
func New(server, id string, spec *agentv1.AgentSpec) *Agent {
	return &Agent{
		Server: server, ID: id, Spec: spec, instance: newID(), cutOff: true, wake: make(chan struct{}, 1),
		Report: func() *agentv1.Report { return &agentv1.Report{} },
		held:   map[string]*Held{}, last: map[string]*Held{}, done: map[string]*agentv1.DeliveryUpdate{},
	}
}

// MayWork says whether the agent shall work, and its work is still its own.
func (a *Agent) MayWork() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.cutOff && !a.drained
}

// Drained says whether an operator told it to take no more work.
func (a *Agent) Drained() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.drained
}

// Run keeps the agent attached until ctx ends, then says goodbye; or until it shall not come back.
func (a *Agent) Run(ctx context.Context) error {
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	a.leave = leave
	if a.Work != nil {
		a.Concurrency = max(a.Concurrency, 1)
		if _, declared := a.Spec.Capacity["slots"]; !declared { // the service gives it no more at a time
			if a.Spec.Capacity == nil {
				a.Spec.Capacity = map[string]int64{}
			}
			a.Spec.Capacity["slots"] = int64(a.Concurrency)
		}
	}
	pace := backoff.DefaultConfig
	pace.MaxDelay = 2 * time.Second
	var err error
	a.calls, err = grpc.NewClient(a.Server, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pace, MinConnectTimeout: 5 * time.Second}))
	if err != nil {
		return err
	}
	defer a.calls.Close()
	renewed := false
	for tries := 0; ; tries++ {
		began := time.Now()
		wait, again, err := a.session(leaving)
		a.detached()
		switch code := status.Code(err); {
		case leaving.Err() != nil:
			fmt.Println("left")
			return nil
		case code == codes.NotFound, code == codes.Unauthenticated && !renewed: // removed, or the token is void
			a.setToken("")
			renewed = true
		case code == codes.InvalidArgument, code == codes.AlreadyExists, code == codes.FailedPrecondition,
			code == codes.PermissionDenied, code == codes.Unimplemented, code == codes.Unauthenticated:
			return err // trying again is of no use
		case !again:
			fmt.Println("stopped")
			return nil
		}
		if err != nil {
			log.Print(err)
		}
		if time.Since(began) > 10*time.Second {
			tries, renewed = 0, false
		}
		wait += time.Duration((0.5 + rand.Float64()/2) * float64(min(15*time.Second, time.Second<<min(tries, 5))))
		for until := time.Now().Add(wait); time.Now().Before(until) && leaving.Err() == nil; {
			time.Sleep(50 * time.Millisecond)
			a.watch(func() {})
		}
	}
}

// session attaches once. It returns when to come back, and whether to.
func (a *Agent) session(leaving context.Context) (wait time.Duration, again bool, err error) {
	conn, err := grpc.NewClient(a.Server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, false, err
	}
	defer conn.Close() // a fresh connection each time: no second backoff underneath
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var trailer metadata.MD
	if !a.registered() {
		if err := a.register(ctx, conn, &trailer); err != nil {
			return delay(trailer), true, err
		}
	}
	stream, err := agentv1.NewSessionServiceClient(conn).OpenSession(a.auth(ctx), grpc.Trailer(&trailer))
	if err != nil {
		return 0, true, err
	}
	a.mu.Lock()
	a.opened = time.Now()
	a.queue = nil
	a.mu.Unlock()
	a.up(&agentv1.OpenSessionRequest{Frame: &agentv1.OpenSessionRequest_Hello{Hello: a.hello()}})
	go a.sendAll(ctx, cancel, stream, leaving)
	for {
		down, err := stream.Recv()
		if err == io.EOF {
			return 0, true, nil
		} else if err != nil {
			return delay(trailer), true, err
		}
		a.watch(func() {}) // a process that was frozen reads first what waited for it
		received := time.Now()
		a.mu.Lock()
		a.heard = received
		a.mu.Unlock()
		switch frame := down.Frame.(type) {
		case *agentv1.OpenSessionResponse_Welcome:
			a.welcome(frame.Welcome)
		case *agentv1.OpenSessionResponse_Ping:
			a.answerPing(frame.Ping, received)
		case *agentv1.OpenSessionResponse_Delivery:
			a.take(frame.Delivery)
		case *agentv1.OpenSessionResponse_Revoke:
			a.mu.Lock()
			a.revoke(frame.Revoke.Work)
			a.mu.Unlock()
		case *agentv1.OpenSessionResponse_Result:
			a.answered(frame.Result)
		case *agentv1.OpenSessionResponse_GoAway:
			fmt.Println("go_away", frame.GoAway.Reason)
			return frame.GoAway.ReconnectAfter.AsDuration(), frame.GoAway.ReconnectAfter != nil, nil
		}
	}
}

func (a *Agent) register(ctx context.Context, conn *grpc.ClientConn, trailer *metadata.MD) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request := &agentv1.RegisterAgentRequest{AgentId: a.ID, Spec: a.Spec, RequestId: newID()}
	response, err := agentv1.NewAgentServiceClient(conn).RegisterAgent(ctx, request, grpc.Trailer(trailer))
	if err == nil {
		a.setToken(response.AgentToken)
	}
	return err
}

// sendAll passes frames on, gives up a dead stream, and says goodbye when the process is told to end.
func (a *Agent) sendAll(
	ctx context.Context, cancel func(), stream agentv1.SessionService_OpenSessionClient, leaving context.Context,
) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.watch(cancel)
			a.tellProgress()
		case <-a.wake:
			for _, frame := range a.queued() {
				_ = stream.Send(frame) // an error here comes out of Recv too
			}
		case <-leaving.Done():
			goodbye := &agentv1.OpenSessionRequest_Leave{Leave: &agentv1.Leave{Reason: "told to stop"}}
			for _, frame := range append(a.queued(), &agentv1.OpenSessionRequest{Frame: goodbye}) {
				_ = stream.Send(frame)
			}
			_ = stream.CloseSend()
			time.AfterFunc(5*time.Second, cancel)
			return
		}
	}
}

// watch gives up a stream that is silent for two thirds of the lease, stops work once all of it has passed, and
// accepts what takes longer, so that it does not come again, and others come meanwhile.
func (a *Agent) watch(giveUp func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	patience := 10 * time.Second // until welcome
	if a.lease > 0 && (a.epoch != 0 || a.lease*2/3 < patience) {
		patience = a.lease * 2 / 3
	}
	if min(time.Since(a.heard), time.Since(a.opened)) > patience {
		giveUp()
	}
	if a.lease > 0 && time.Since(a.heard) > a.lease && !a.cutOff {
		a.cutOff = true
		fmt.Println("lease expired: work stopped")
		for _, held := range a.held {
			if held.Task != nil { // whoever works on it stops; should it still be ours, it is tried again
				held.revoke()
			}
		}
	}
	for _, held := range a.held {
		if !held.accepted && a.epoch != 0 && time.Since(held.since) > 50*time.Millisecond {
			a.accept(held)
		}
	}
}

func (a *Agent) detached() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch = 0
}

// attached waits for a session and returns its epoch.
func (a *Agent) attached(ctx context.Context) (uint64, error) {
	for {
		a.mu.Lock()
		epoch := a.epoch
		a.mu.Unlock()
		if epoch != 0 {
			return epoch, nil
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), errors.New("not attached"))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *Agent) registered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token != ""
}

func (a *Agent) setToken(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
}

func (a *Agent) auth(ctx context.Context) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token)
}

func newID() string { return cryptorand.Text() }
