// A complete agent: registers, stays attached, reports, stops work when cut off, comes back, says goodbye.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "mycosoft.dev/orchestrator/agent/v1"
)

var spec = &pb.AgentSpec{
	DisplayName:  "Go example",
	Kind:         "summarizer",
	Version:      "1.0",
	Labels:       map[string]string{"lang": "go"},
	Capabilities: []*pb.Capability{{Name: "summarize", InputTypes: []string{"text/plain"}}},
	Activities:   []*pb.Activity{{Name: "summarizing", ProgressBudget: durationpb.New(30 * time.Second)}},
}

type agent struct {
	server, id, instance, token string
	pages                       atomic.Uint64 // the work done so far
	working                     atomic.Bool   // false: stop, others may have our work by now
	drained                     atomic.Bool   // told to take no more work
	stop                        func()        // ends this process with a goodbye
	heard                       atomic.Int64  // when the service was heard last, by the monotonic clock
	lease                       atomic.Int64  // nanoseconds; 0 before the first welcome
}

var start = time.Now()

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: agent <host:port> [id]")
	}
	a := &agent{server: os.Args[1], id: "go-1", instance: fmt.Sprintf("%016x", rand.Uint64())}
	if len(os.Args) > 2 {
		a.id = os.Args[2]
	}
	leaving, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a.stop = stop
	go a.work()
	a.run(leaving)
}

// work is your agent; here it "reads" ten pages a second.
func (a *agent) work() {
	for range time.Tick(100 * time.Millisecond) {
		if a.working.Load() && !a.drained.Load() {
			a.pages.Add(1)
		}
	}
}

func (a *agent) report() *pb.Report {
	activity := "summarizing"
	if a.drained.Load() {
		activity = "drained"
	}
	return &pb.Report{
		Activity: activity,
		Load:     proto.Float64(0.3),
		Progress: []*pb.Progress{{Name: "pages", Done: a.pages.Load()}},
	}
}

// run attaches again and again, with jitter, until told not to come back.
func (a *agent) run(leaving context.Context) {
	renewed := false
	for tries := 0; ; tries++ {
		began := time.Now()
		wait, again, err := a.session(leaving)
		switch code := status.Code(err); {
		case leaving.Err() != nil:
			fmt.Println("left")
			return
		case code == codes.NotFound, code == codes.Unauthenticated && !renewed:
			a.token, renewed = "", true
		case code == codes.InvalidArgument, code == codes.AlreadyExists, code == codes.FailedPrecondition,
			code == codes.PermissionDenied, code == codes.Unimplemented, code == codes.Unauthenticated:
			log.Fatal(err)
		case !again:
			fmt.Println("stopped")
			return
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
func (a *agent) session(leaving context.Context) (wait time.Duration, again bool, err error) {
	conn, err := grpc.NewClient(a.server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, false, err
	}
	defer conn.Close() // a fresh connection each time: no second backoff underneath
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if a.token == "" {
		registered, err := register(ctx, conn, a.id)
		if err != nil {
			return 0, true, err
		}
		a.token = registered.AgentToken
	}
	auth := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token)
	stream, err := pb.NewSessionServiceClient(conn).OpenSession(auth)
	if err != nil {
		return 0, true, err
	}
	a.heard.Store(int64(time.Since(start)))
	hello := &pb.Hello{InstanceId: a.instance, Client: "example-go/1", Report: a.report()}
	up := make(chan *pb.OpenSessionRequest, 16) // one goroutine sends: a stream is not safe for two
	up <- &pb.OpenSessionRequest{Frame: &pb.OpenSessionRequest_Hello{Hello: hello}}
	go a.sendAll(ctx, cancel, stream, up, leaving)
	for {
		down, err := stream.Recv()
		if err == io.EOF {
			return 0, true, nil
		} else if err != nil {
			return 0, true, err
		}
		a.watch(func() {}) // a process that was frozen reads first what waited for it
		a.heard.Store(int64(time.Since(start)))
		received := time.Now()
		switch frame := down.Frame.(type) {
		case *pb.OpenSessionResponse_Welcome:
			a.lease.Store(int64(frame.Welcome.Lease.AsDuration()))
			a.working.Store(true)
			fmt.Printf("connected epoch=%d\n", frame.Welcome.Epoch)
		case *pb.OpenSessionResponse_Ping:
			a.working.Store(true)
			if frame.Ping.Lease != nil {
				a.lease.Store(int64(frame.Ping.Lease.AsDuration()))
			}
			beat := &pb.Heartbeat{Echo: frame.Ping.Echo, AgentTime: timestamppb.Now(), Report: a.report()}
			beat.Held = durationpb.New(time.Since(received))
			up <- &pb.OpenSessionRequest{Frame: &pb.OpenSessionRequest_Heartbeat{Heartbeat: beat}}
		case *pb.OpenSessionResponse_Delivery:
			update := &pb.DeliveryUpdate{Work: frame.Delivery.Work, State: a.obey(frame.Delivery.GetCommand().GetType())}
			up <- &pb.OpenSessionRequest{Frame: &pb.OpenSessionRequest_DeliveryUpdate{DeliveryUpdate: update}}
			if frame.Delivery.GetCommand().GetType() == "stop" {
				up <- nil // after the answer: goodbye
			}
		case *pb.OpenSessionResponse_GoAway:
			fmt.Println("go_away", frame.GoAway.Reason)
			return frame.GoAway.ReconnectAfter.AsDuration(), frame.GoAway.ReconnectAfter != nil, nil
		}
	}
}

// obey carries a command out and says what became of it; messages and tasks are not for this agent.
func (a *agent) obey(order string) pb.DeliveryUpdate_State {
	switch order {
	case "drain", "stop":
		a.drained.Store(true)
	case "resume":
		a.drained.Store(false)
	default:
		return pb.DeliveryUpdate_STATE_DECLINED
	}
	return pb.DeliveryUpdate_STATE_SUCCEEDED
}

func register(ctx context.Context, conn *grpc.ClientConn, id string) (*pb.RegisterAgentResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return pb.NewAgentServiceClient(conn).RegisterAgent(ctx, &pb.RegisterAgentRequest{AgentId: id, Spec: spec})
}

// sendAll passes frames on, gives up a dead stream, and says goodbye when the process is told to end.
func (a *agent) sendAll(
	ctx context.Context, cancel func(), stream pb.SessionService_OpenSessionClient,
	up <-chan *pb.OpenSessionRequest, leaving context.Context,
) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.watch(cancel)
		case frame := <-up:
			if frame == nil {
				a.stop()
				continue
			}
			_ = stream.Send(frame) // an error here comes out of Recv too
		case <-leaving.Done():
			goodbye := &pb.OpenSessionRequest_Leave{Leave: &pb.Leave{Reason: "signal"}}
			_ = stream.Send(&pb.OpenSessionRequest{Frame: goodbye})
			_ = stream.CloseSend()
			time.AfterFunc(5*time.Second, cancel)
			return
		}
	}
}

// watch gives up a stream that is silent for two thirds of the lease, and stops work once all of it has passed.
func (a *agent) watch(giveUp func()) {
	silent, lease := int64(time.Since(start))-a.heard.Load(), a.lease.Load()
	if lease > 0 && silent > lease*2/3 {
		giveUp()
	}
	if lease > 0 && silent > lease && a.working.CompareAndSwap(true, false) {
		fmt.Println("lease expired: work stopped")
	}
}
