// SPDX-License-Identifier: BSD-3-Clause

// Asynq and go-redis end to end: gyre-asynq-test PORT. Asynq takes a task by a script whose keys come
// from an argument (dequeue), moves what is due by other scripts, unique tasks are locks, and
// cancelling goes by pub/sub. Prints "fine" if all held, like the other programs of test/programs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

var address string
var patience = 1.0

func check(isSo bool, format string, args ...any) {
	if !isSo {
		panic(fmt.Sprintf(format, args...))
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "%v", err)
	return value
}

// Waits until the condition holds.
func until(what string, condition func() bool) {
	end := time.Now().Add(time.Duration(8 * patience * float64(time.Second)))
	for !condition() {
		check(time.Now().Before(end), "in vain waited for: %s", what)
		time.Sleep(10 * time.Millisecond)
	}
}

type quiet struct{}

func (quiet) Debug(...interface{}) {}
func (quiet) Info(...interface{})  {}
func (quiet) Warn(...interface{})  {}
func (quiet) Error(...interface{}) {}
func (quiet) Fatal(args ...interface{}) {
	fmt.Println(args...)
	os.Exit(1)
}

// Tasks of three queues: at once, later, in bulk, again after a failure, once only, cancelled.
func tasks(ctx context.Context) {
	connection := asynq.RedisClientOpt{Addr: address, DB: 5}
	client := asynq.NewClient(connection)
	defer client.Close()
	inspector := asynq.NewInspector(connection)
	defer inspector.Close()
	var done, flaky, hopeless, late int64
	var cancelled int32
	var seen sync.Map
	mux := asynq.NewServeMux()
	mux.HandleFunc("count", func(_ context.Context, task *asynq.Task) error {
		if _, twice := seen.LoadOrStore(string(task.Payload()), true); twice {
			return fmt.Errorf("%s ran twice: %w", task.Payload(), asynq.SkipRetry)
		}
		atomic.AddInt64(&done, 1)
		_, err := task.ResultWriter().Write(task.Payload())
		return err
	})
	mux.HandleFunc("flaky", func(context.Context, *asynq.Task) error {
		if atomic.AddInt64(&flaky, 1) < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	mux.HandleFunc("hopeless", func(context.Context, *asynq.Task) error {
		atomic.AddInt64(&hopeless, 1)
		return fmt.Errorf("no use: %w", asynq.SkipRetry)
	})
	mux.HandleFunc("late", func(context.Context, *asynq.Task) error {
		atomic.StoreInt64(&late, time.Now().UnixMilli())
		return nil
	})
	mux.HandleFunc("endless", func(ctx context.Context, _ *asynq.Task) error {
		<-ctx.Done()
		atomic.AddInt32(&cancelled, 1)
		return fmt.Errorf("cancelled: %w", asynq.SkipRetry)
	})
	server := asynq.NewServer(connection, asynq.Config{
		Concurrency:              6,
		Queues:                   map[string]int{"high": 6, "default": 3, "low": 1},
		RetryDelayFunc:           func(int, error, *asynq.Task) time.Duration { return 20 * time.Millisecond },
		DelayedTaskCheckInterval: 50 * time.Millisecond,
		Logger:                   quiet{},
	})
	check(server.Start(mux) == nil, "the server does not start")
	defer server.Shutdown()

	queues := []string{"high", "default", "low"}
	var adding sync.WaitGroup
	for producer := 0; producer < 3; producer++ {
		adding.Add(1)
		go func(producer int) {
			defer adding.Done()
			for n := 0; n < 30; n++ {
				task := asynq.NewTask("count", []byte(fmt.Sprint(producer, "-", n)))
				must(client.Enqueue(task, asynq.Queue(queues[n%3]), asynq.Retention(time.Minute)))
			}
		}(producer)
	}
	adding.Wait()
	due := time.Now().Add(1200 * time.Millisecond)
	must(client.Enqueue(asynq.NewTask("late", nil), asynq.ProcessAt(due)))
	must(client.Enqueue(asynq.NewTask("flaky", nil), asynq.MaxRetry(5)))
	must(client.Enqueue(asynq.NewTask("hopeless", nil)))
	once := asynq.NewTask("unique", []byte("x"))
	must(client.Enqueue(once, asynq.Unique(time.Minute), asynq.ProcessIn(time.Hour)))
	_, err := client.Enqueue(once, asynq.Unique(time.Minute))
	check(errors.Is(err, asynq.ErrDuplicateTask), "a second unique task gave %v", err)
	endless := must(client.Enqueue(asynq.NewTask("endless", nil), asynq.TaskID("endless"), asynq.MaxRetry(0)))

	until("ninety tasks", func() bool { return atomic.LoadInt64(&done) == 90 })
	until("the flaky task", func() bool { return atomic.LoadInt64(&flaky) == 3 })
	until("the hopeless task is archived", func() bool {
		return must(inspector.GetQueueInfo("default")).Archived == 1 && atomic.LoadInt64(&hopeless) == 1
	})
	until("the endless task runs", func() bool {
		info := must(inspector.GetTaskInfo("default", endless.ID))
		return info.State == asynq.TaskStateActive
	})
	until("it is cancelled", func() bool {
		check(inspector.CancelProcessing(endless.ID) == nil, "CancelProcessing")
		return atomic.LoadInt32(&cancelled) == 1
	})
	until("the late task", func() bool { return atomic.LoadInt64(&late) != 0 })
	check(atomic.LoadInt64(&late) >= due.UnixMilli()-1000, "the late task was early") // whole seconds
	for _, queue := range queues {
		until("nothing is active in "+queue, func() bool {
			info := must(inspector.GetQueueInfo(queue))
			return info.Active == 0 && info.Pending == 0 && info.Retry == 0 && info.Completed >= 30
		})
	}
	check(len(must(inspector.Servers())) == 1, "one server")
	check(must(inspector.DeleteAllScheduledTasks("default")) == 1, "the unique task is there")
	completed := must(inspector.ListCompletedTasks("high", asynq.PageSize(100)))
	check(len(completed) == 30 && string(completed[0].Result) == string(completed[0].Payload), "results")
}

// go-redis: pipelines, transactions with WATCH, scripts, pub/sub, blocking commands.
func goRedis(ctx context.Context) {
	client := redis.NewClient(&redis.Options{Addr: address, DB: 6, ReadTimeout: 10 * time.Second})
	defer client.Close()
	_, err := client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, "x", 0, 0)
		pipe.Set(ctx, "y", 0, 0)
		return nil
	})
	check(err == nil, "%v", err)
	var all sync.WaitGroup
	var failed atomic.Value
	for n := 0; n < 6; n++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; i < 10; {
				err := client.Watch(ctx, func(tx *redis.Tx) error {
					values, err := tx.MGet(ctx, "x", "y").Result()
					if err != nil || values[0] != values[1] {
						return fmt.Errorf("%v and %v, %v", values[0], values[1], err)
					}
					old, _ := strconv.Atoi(values[0].(string))
					_, err = tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
						pipe.Set(ctx, "x", old+1, 0)
						pipe.Set(ctx, "y", old+1, 0)
						return nil
					})
					return err
				}, "x", "y")
				if err == nil {
					i++
				} else if err != redis.TxFailedErr {
					failed.Store(err)
					return
				}
			}
		}()
	}
	all.Wait()
	check(failed.Load() == nil, "%v", failed.Load())
	check(must(client.Get(ctx, "y").Int()) == 60, "sixty transactions")

	script := redis.NewScript(`redis.call("INCRBY", ARGV[1], 5) return {redis.call("GET", KEYS[1]), ARGV[1]}`)
	got := must(script.Run(ctx, client, []string{"x"}, "derived").Slice())
	check(fmt.Sprint(got) == "[60 derived]", "the script gave %v", got)

	subscription := client.Subscribe(ctx, "news")
	defer subscription.Close()
	must(subscription.Receive(ctx))
	popped := make(chan []string, 1)
	go func() { popped <- client.BLPop(ctx, 8*time.Second, "q1", "q2").Val() }()
	until("BLPOP waits", func() bool {
		return must(client.Do(ctx, "CLIENT", "LIST").Text()) != "" && len(popped) == 0
	})
	_, err = client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.RPush(ctx, "q2", "element")
		pipe.Publish(ctx, "news", "hello")
		return nil
	})
	check(err == nil, "%v", err)
	check(must(subscription.ReceiveMessage(ctx)).Payload == "hello", "the message")
	check(fmt.Sprint(<-popped) == "[q2 element]", "BLPOP")
}

func main() {
	address = "127.0.0.1:" + os.Args[1]
	if value, err := strconv.ParseFloat(os.Getenv("GYRE_TEST_PATIENCE"), 64); err == nil {
		patience = value
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(20*patience)*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, scenario := range []func(context.Context){tasks, goRedis} {
		all.Add(1)
		go func(scenario func(context.Context)) {
			defer all.Done()
			scenario(ctx)
		}(scenario)
	}
	all.Wait()
	fmt.Println("fine")
}
