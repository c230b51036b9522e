package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	agentv1 "mycosoft.dev/orchestrator/agent/v1"
	coordinationv1 "mycosoft.dev/orchestrator/coordination/v1"
)

const maxUnanswered = 1_000 // frames whose effect is not stored yet

// To names the receivers of a message.
type To func(*agentv1.SendMessage)

// ToAgent is one agent.
func ToAgent(id string) To {
	return func(send *agentv1.SendMessage) { send.To = &agentv1.SendMessage_AgentId{AgentId: id} }
}

// ToCapability is any one agent that has it.
func ToCapability(name string) To {
	return func(send *agentv1.SendMessage) { send.To = &agentv1.SendMessage_Capability{Capability: name} }
}

// ToTopic is every subscriber.
func ToTopic(topic string) To {
	return func(send *agentv1.SendMessage) { send.To = &agentv1.SendMessage_Topic{Topic: topic} }
}

// Refused is what the service answers instead of doing it: tell them apart by Reason (error_reason.proto).
type Refused struct {
	Code           codes.Code
	Reason, Detail string
	RetryAfter     time.Duration // 0: trying again is of no use
}

func (r *Refused) Error() string { return fmt.Sprintf("%v %s: %s", r.Code, r.Reason, r.Detail) }

// Reason returns why the service refused, or "".
func Reason(err error) string {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// Call asks an agent and waits for its answer, until ctx ends or for 30 s. It is given to one agent once.
func (a *Agent) Call(ctx context.Context, to To, kind string, data any) (answer *agentv1.Payload, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ctx, span := sending(ctx, "call", kind, trace.SpanKindClient)
	defer func() { endSpan(span, err) }()
	send, err := message(ctx, to, kind, data)
	if err != nil {
		return nil, err
	}
	epoch, err := a.attached(ctx)
	if err != nil {
		return nil, err
	}
	var trailer metadata.MD
	request := &coordinationv1.CallAgentRequest{Send: send, SessionEpoch: epoch}
	response, err := coordinationv1.NewMessageServiceClient(a.calls).
		CallAgent(withTrace(a.auth(ctx)), request, grpc.Trailer(&trailer))
	return response.GetOutput(), refusal(err, trailer)
}

// Send returns once the message is stored. After an error that is not Refused it may be stored later.
func (a *Agent) Send(ctx context.Context, to To, kind string, data any) (err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	ctx, span := sending(ctx, "send", kind, trace.SpanKindProducer)
	defer func() { endSpan(span, err) }()
	send, err := message(ctx, to, kind, data)
	if err != nil {
		return err
	}
	frame := &agentv1.OpenSessionRequest{FrameId: newID(), Frame: &agentv1.OpenSessionRequest_Send{Send: send}}
	sent := &effect{frame: frame, result: make(chan *agentv1.Result, 1)}
	if !a.postBounded(sent) {
		return &Refused{Code: codes.ResourceExhausted, Detail: "too much waits to be stored", RetryAfter: time.Second}
	}
	select {
	case result := <-sent.result:
		if result.Code != 0 {
			return &Refused{Code: codes.Code(result.Code), Reason: result.Reason, Detail: result.Detail}
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Subscribe has the agent receive what is sent to a topic, or to all topics under a prefix: "jobs.*".
func (a *Agent) Subscribe(ctx context.Context, topic string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := a.attached(ctx); err != nil {
		return err
	}
	var trailer metadata.MD
	request := &coordinationv1.CreateSubscriptionRequest{
		Subscription: &coordinationv1.Subscription{AgentId: a.ID, Topic: topic}, RequestId: newID(),
	}
	_, err := coordinationv1.NewMessageServiceClient(a.calls).
		CreateSubscription(a.auth(ctx), request, grpc.Trailer(&trailer))
	return refusal(err, trailer)
}

// Payload wraps text, bytes, or anything that encodes as JSON.
func Payload(data any) (*agentv1.Payload, error) {
	switch data := data.(type) {
	case string:
		return &agentv1.Payload{Data: &agentv1.Payload_Text{Text: data}}, nil
	case []byte:
		return &agentv1.Payload{Data: &agentv1.Payload_Binary{Binary: data}}, nil
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	value := &structpb.Value{}
	return &agentv1.Payload{Data: &agentv1.Payload_Json{Json: value}}, value.UnmarshalJSON(encoded)
}

// Decode reads a payload that holds JSON.
func Decode(payload *agentv1.Payload, into any) error {
	encoded, err := payload.GetJson().MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(encoded, into)
}

// message makes a message whose id makes repeats recognisable; the trace context travels in its extensions, too.
func message(ctx context.Context, to To, kind string, data any) (*agentv1.SendMessage, error) {
	message := &agentv1.Message{Id: newID(), Type: kind, Extensions: traceOf(ctx)}
	if data != nil {
		payload, err := Payload(data)
		if err != nil {
			return nil, err
		}
		message.Data = payload
	}
	send := &agentv1.SendMessage{Message: message}
	to(send)
	return send, nil
}

func (a *Agent) postBounded(sent *effect) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.unanswered) >= maxUnanswered {
		return false
	}
	a.post(sent)
	return true
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, 30*time.Second)
}

func refusal(err error, trailer metadata.MD) error {
	if err == nil {
		return nil
	}
	reason := ""
	if values := trailer.Get("error-reason"); len(values) > 0 {
		reason = values[0]
	}
	answer := status.Convert(err)
	return &Refused{Code: answer.Code(), Reason: reason, Detail: answer.Message(), RetryAfter: delay(trailer)}
}

// delay is after what time the service wants to be asked again.
func delay(trailer metadata.MD) time.Duration {
	if values := trailer.Get("retry-after-ms"); len(values) > 0 {
		ms, _ := strconv.Atoi(values[0])
		return time.Duration(ms) * time.Millisecond
	}
	return 0
}
