// SPDX-License-Identifier: BSD-3-Clause
//
// Publishers number their messages and say them on several channels, by pipelines, in transactions
// and in scripts, each after a write of the same number. Stable subscribers listen to all channels,
// some or patterns; the first one's messages are the reference order. Churners subscribe and
// unsubscribe all the time. What must hold:
//
//   - the reference has every message of each publisher, in its order, over all channels; every other stable
//     subscriber saw the same, less the channels it does not have;
//   - a churner saw an unbroken piece of the reference's messages of its channel: all that were published
//     between its SUBSCRIBE's acknowledgement and its UNSUBSCRIBE, and nothing after that one's;
//   - PUBLISH answered exactly how many got the message;
//   - who has a message and then reads the publisher's key finds the message's number or a later one.

package main

import (
	"fmt"
	"math/rand"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	publishers   = 4
	channels     = 8 // churners have the first three; the last two are SPUBLISH's
	plainOnes    = 6
	subscribers  = 6
	churners     = 4
	maxLag       = 3000 // messages the slowest reference reader may be behind
	publishBatch = 8
	segmentTime  = 3 * time.Second // what is kept in memory and judged at once
)

// said is one PUBLISH as its publisher saw it; times are l.now().
type said struct {
	channel, count int
	call, end      int64
}

// message is what a subscriber got: the publisher, its number, the channel.
type message struct {
	from, number, channel int
}

type hearing struct {
	lab     *lab
	number  int
	end     time.Time
	log     [publishers][]said // by number - 1; each belongs to its publisher until all have ended
	total   int64              // atomic: published
	heard   int64              // atomic: by the first subscriber
	stable  [subscribers][]message
	churned [churners][]visit
	isDone  int32 // atomic: the publishers have ended
}

// visit is one stay of a churner on its channel.
type visit struct {
	channel    int
	acked, bye int64 // when SUBSCRIBE's reply was read, and UNSUBSCRIBE sent
	messages   []message
}

// The stable subscribers: their commands, and the channels that these bring.
var listeners = [subscribers]struct {
	commands [][]string
	hears    []int
}{
	{[][]string{{"SUBSCRIBE", "c0", "c1", "c2", "c3", "c4", "c5"}, {"SSUBSCRIBE", "s6", "s7"}},
		[]int{0, 1, 2, 3, 4, 5, 6, 7}},
	{[][]string{{"PSUBSCRIBE", "c*"}}, []int{0, 1, 2, 3, 4, 5}},
	{[][]string{{"SSUBSCRIBE", "s7"}, {"SUBSCRIBE", "c5", "c4", "c3", "c2", "c1", "c0"}},
		[]int{0, 1, 2, 3, 4, 5, 7}},
	{[][]string{{"SUBSCRIBE", "c1", "c3", "c4"}}, []int{1, 3, 4}},
	{[][]string{{"PSUBSCRIBE", "c[0-2]", "c4"}, {"SSUBSCRIBE", "s6"}}, []int{0, 1, 2, 4, 6}},
	{[][]string{{"SUBSCRIBE", "c5"}}, []int{5}},
}

// pubsub runs segments, each with connections and channels of its own.
func pubsub(l *lab) {
	messages, visits := 0, 0
	for n := 0; n == 0 || !l.isOver(); n++ {
		h := &hearing{lab: l, number: n, end: time.Now().Add(segmentTime)}
		if h.end.After(l.deadline) {
			h.end = l.deadline
		}
		h.run()
		for i := range h.churned {
			visits += len(h.churned[i])
		}
		messages += len(h.stable[0])
	}
	l.note("%d messages, %d visits", messages, visits)
}

func (h *hearing) isOver() bool {
	return time.Now().After(h.end) || h.lab.isBroken()
}

func (h *hearing) run() {
	control := h.lab.connect()
	defer control.close()
	var listening, ready sync.WaitGroup
	ready.Add(subscribers)
	listening.Add(subscribers + churners)
	go together(subscribers, func(i int) {
		defer listening.Done()
		h.listen(i, &ready)
	})
	ready.Wait()
	go together(churners, func(i int) {
		defer listening.Done()
		h.churn(i)
	})
	together(publishers, h.publish)
	atomic.StoreInt32(&h.isDone, 1)
	// After every reply to PUBLISH, on every channel: the end.
	for i := 0; i < channels; i++ {
		h.lab.must(control, publishVerb(i), h.channel(i), "end")
	}
	listening.Wait()
	if !h.lab.isBroken() {
		h.judge()
	}
}

func publishVerb(channel int) string {
	if channel < plainOnes {
		return "PUBLISH"
	}
	return "SPUBLISH"
}

func (h *hearing) channel(channel int) string {
	return h.name(string("cs"[channel/plainOnes]) + strconv.Itoa(channel))
}

func (h *hearing) name(name string) string {
	return fmt.Sprintf("ps%d:%d:%s", h.lab.seed, h.number, name)
}

func (h *hearing) data(publisher int) string {
	return h.name("data" + strconv.Itoa(publisher))
}

// ---- publishers

func (h *hearing) publish(number int) {
	c := h.lab.connect()
	defer c.close()
	dice := h.lab.dice(number)
	for !h.isOver() {
		call := h.lab.now()
		var counts []func(reply) int // where each reply has the count, if it has
		var names []int
		for n := 1 + dice.Intn(publishBatch); n > 0; n-- {
			channel := dice.Intn(channels)
			names = append(names, channel)
			text := strconv.Itoa(len(h.log[number]) + len(names))
			if h.lab.sabotage == "lost" && dice.Intn(500) == 0 {
				c.put("PING")
				counts = append(counts, func(reply) int { return 0 })
				continue
			}
			counts = append(counts, h.putPublish(c, dice.Intn(5), number, channel, text)...)
		}
		err := c.flush()
		for _, count := range counts {
			var r reply
			if err == nil {
				r, err = c.read()
			}
			if err != nil || r.kind == '-' {
				h.lab.violation("PUBLISH: %s %v", r.text, err)
				h.lab.finish()
			}
			if count != nil {
				h.log[number] = append(h.log[number], said{names[0], count(r), call, h.lab.now()})
				names = names[1:]
				atomic.AddInt64(&h.total, 1)
				h.lab.count(1)
			}
		}
		for atomic.LoadInt64(&h.total)-atomic.LoadInt64(&h.heard) > maxLag && !h.isOver() {
			time.Sleep(time.Millisecond)
		}
		if dice.Intn(10) == 0 {
			pause(dice, time.Millisecond)
		}
	}
}

// putPublish writes the number, then publishes it, in one of five ways; for each reply, what reads
// the count.
func (h *hearing) putPublish(c *conn, how, number, channel int, text string) []func(reply) int {
	key, name, verb := h.data(number), h.channel(channel), publishVerb(channel)
	news := strconv.Itoa(number) + ":" + text
	whole := func(r reply) int { return int(r.number()) }
	const script = "redis.call('SET',%s,ARGV[1]) return redis.call('%s',ARGV[2],ARGV[3])"
	if how == 0 && !h.lab.has("transactions") || (how == 1 || how == 2) && !h.lab.has("scripts") {
		how = 3
	}
	switch how {
	case 0:
		c.put("MULTI")
		c.put("SET", key, text)
		c.put(verb, name, news)
		c.put("EXEC")
		return []func(reply) int{nil, nil, nil, func(r reply) int {
			if len(r.items) != 2 {
				return -1
			}
			return int(r.items[1].number())
		}}
	case 1:
		c.put("EVAL", fmt.Sprintf(script, "KEYS[1]", verb), "1", key, text, name, news)
		return []func(reply) int{whole}
	case 2:
		c.put("EVAL", fmt.Sprintf(script, "ARGV[4]", verb), "0", text, name, news, key)
		return []func(reply) int{whole}
	}
	c.put("SET", key, text)
	c.put(verb, name, news)
	return []func(reply) int{nil, whole}
}

// ---- subscribers

func (h *hearing) subscribe(c *conn, command ...string) {
	words := command[:1:1]
	for _, name := range command[1:] {
		words = append(words, h.name(name))
	}
	c.put(words...)
	c.flush()
}

// parse returns a message, or what kind of acknowledgement it was.
func (h *hearing) parse(r reply) (message, string) {
	if r.kind != '*' || len(r.items) < 3 {
		h.lab.violation("a subscriber got %s %s", r, r.text)
		return message{}, ""
	}
	at := 1
	switch r.items[0].text {
	case "pmessage":
		at = 2
	case "message", "smessage":
	default:
		return message{}, r.items[0].text
	}
	name, news := r.items[at].text, strings.SplitN(r.items[at+1].text, ":", 2)
	m := message{channel: int(name[len(name)-1] - '0')}
	if len(news) == 2 {
		m.from, _ = strconv.Atoi(news[0])
		m.number, _ = strconv.Atoi(news[1])
	} // else number 0: the end
	return m, ""
}

func (h *hearing) listen(number int, ready *sync.WaitGroup) {
	c, reader := h.lab.connect(), h.lab.connect()
	defer c.close()
	defer reader.close()
	dice := h.lab.dice(100 + number)
	me := listeners[number]
	acks, ends := 0, 0
	for _, command := range me.commands {
		h.subscribe(c, command...)
		acks -= len(command) - 1
	}
	for ends < len(me.hears) && !h.lab.isBroken() {
		r, err := c.read()
		if err != nil {
			h.lab.violation("subscriber %d, after %d messages: %v", number, len(h.stable[number]), err)
			if acks < 0 {
				h.lab.finish()
			}
			return
		}
		m, ack := h.parse(r)
		switch {
		case ack != "":
			if acks++; acks == 0 {
				ready.Done()
			}
		case m.number == 0:
			ends++
		default:
			h.hear(number, m, dice)
			if dice.Intn(8) == 0 {
				h.readBack(reader, m)
			}
		}
	}
}

func (h *hearing) hear(number int, m message, dice *rand.Rand) {
	if number == 0 {
		atomic.AddInt64(&h.heard, 1)
	}
	mine := append(h.stable[number], m)
	if n := len(mine); dice.Intn(300) == 0 && n > 1 {
		switch h.lab.sabotage {
		case "doubled":
			mine = append(mine, m)
		case "swapped":
			mine[n-1], mine[n-2] = mine[n-2], mine[n-1]
		}
	}
	h.stable[number] = mine
}

// readBack: the write before the message must be there.
func (h *hearing) readBack(reader *conn, m message) {
	r := h.lab.must(reader, "GET", h.data(m.from))
	if int(r.number()) < m.number {
		h.lab.violation("publisher %d's message %d came, and its write %d before it is not there: %s", m.from,
			m.number, m.number, r)
	}
}

// churn stays on one channel for a moment, again and again; odd ones by a pattern.
func (h *hearing) churn(number int) {
	c := h.lab.connect()
	defer c.close()
	dice := h.lab.dice(200 + number)
	p := []string{"", "P"}[number%2]
	for atomic.LoadInt32(&h.isDone) == 0 && !h.lab.isBroken() {
		v := visit{channel: dice.Intn(3)}
		name := "c" + strconv.Itoa(v.channel)
		h.subscribe(c, p+"SUBSCRIBE", name)
		if !h.awaitAck(c, strings.ToLower(p)+"subscribe", nil) {
			return
		}
		v.acked = h.lab.now()
		pause(dice, 2*time.Millisecond)
		v.bye = h.lab.now()
		h.subscribe(c, p+"UNSUBSCRIBE", name)
		if !h.awaitAck(c, strings.ToLower(p)+"unsubscribe", &v) {
			return
		}
		h.churned[number] = append(h.churned[number], v)
		// A message that is late comes before this.
		if dice.Intn(2) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
		if r, err := c.do("PING"); err != nil || r.String() != "+PONG" {
			h.lab.violation("after UNSUBSCRIBE's reply, PING answered %s: %v", r, err)
			return
		}
	}
}

// awaitAck reads up to the acknowledgement; messages before it go to v, if there may be any.
func (h *hearing) awaitAck(c *conn, want string, v *visit) bool {
	for {
		r, err := c.read()
		if err != nil {
			h.lab.violation("waiting for the reply to %s: %v", want, err)
			return false
		}
		m, ack := h.parse(r)
		switch {
		case ack == want:
			return true
		case ack != "" || v == nil:
			h.lab.violation("waiting for the reply to %s: %s", want, r)
			return false
		case m.number != 0:
			v.messages = append(v.messages, m)
			if h.lab.sabotage == "late" && len(v.messages) > 5 {
				v.messages = v.messages[1:] // as if the first had come before SUBSCRIBE's reply
			}
		}
	}
}

// ---- at the end

func (h *hearing) judge() {
	reference := h.stable[0]
	h.judgeReference(reference)
	for i := 1; i < subscribers; i++ {
		h.judgeSame(i, reference)
	}
	order := newRanking(h, reference)
	got := map[message]int{}
	for i := range h.churned {
		for _, v := range h.churned[i] {
			h.judgeVisit(i, v, order)
			for _, m := range v.messages {
				got[m]++
			}
		}
	}
	var listening [channels]int
	for _, who := range listeners {
		for _, channel := range who.hears {
			listening[channel]++
		}
	}
	for from := range h.log {
		for i, s := range h.log[from] {
			want := got[message{from, i + 1, s.channel}] + listening[s.channel]
			if s.count != want {
				h.lab.violation("PUBLISH of publisher %d's message %d on c%d answered %d; %d got it", from, i+1,
					s.channel, s.count, want)
			}
		}
	}
}

// ranking is the reference order of each channel, and by time of call what was published when.
type ranking struct {
	at     map[message]int // its place on its channel
	byCall [channels][]message
}

func newRanking(h *hearing, reference []message) *ranking {
	o := &ranking{at: map[message]int{}}
	for _, m := range reference {
		o.at[m] = len(o.byCall[m.channel])
		o.byCall[m.channel] = append(o.byCall[m.channel], m)
	}
	for _, all := range o.byCall {
		sort.Slice(all, func(i, j int) bool { return h.said(all[i]).call < h.said(all[j]).call })
	}
	return o
}

func (h *hearing) said(m message) said {
	return h.log[m.from][m.number-1]
}

// judgeReference: all messages of each publisher, in its order.
func (h *hearing) judgeReference(reference []message) {
	var last [publishers]int
	for i, m := range reference {
		if m.number != last[m.from]+1 {
			h.lab.violation("publisher %d's message %d came after %d: %v", m.from, m.number, last[m.from],
				around(reference, i))
		} else if h.log[m.from][m.number-1].channel != m.channel {
			h.lab.violation("publisher %d's message %d came on c%d", m.from, m.number, m.channel)
		}
		last[m.from] = m.number
	}
	for from := range last {
		if last[from] != len(h.log[from]) {
			h.lab.violation("publisher %d's last message is %d, not %d", from, last[from],
				len(h.log[from]))
		}
	}
}

func around(messages []message, i int) []message {
	from, to := i-4, i+5
	if from < 0 {
		from = 0
	}
	if to > len(messages) {
		to = len(messages)
	}
	return messages[from:to]
}

func (h *hearing) judgeSame(number int, reference []message) {
	hears := map[int]bool{}
	for _, channel := range listeners[number].hears {
		hears[channel] = true
	}
	mine := h.stable[number]
	i := 0
	for at, m := range reference {
		if !hears[m.channel] {
			continue
		}
		if i == len(mine) || mine[i] != m {
			h.lab.violation("subscriber %d has another order than 0 {from number channel}: %v against %v",
				number, around(mine, i), around(reference, at))
			return
		}
		i++
	}
	if i != len(mine) {
		h.lab.violation("subscriber %d has more messages than 0: %v", number, around(mine, i))
	}
}

// judgeVisit: an unbroken piece, and not too small a one.
func (h *hearing) judgeVisit(number int, v visit, o *ranking) {
	first, last := 0, -1
	for i, m := range v.messages {
		place, ok := o.at[m]
		if !ok || m.channel != v.channel || (i > 0 && place != last+1) {
			h.lab.violation("churner %d on c%d: %v is not next in the reference order: %v", number,
				v.channel, m, around(v.messages, i))
			return
		}
		if i == 0 {
			first = place
		}
		last = place
	}
	all := o.byCall[v.channel]
	i := sort.Search(len(all), func(i int) bool { return h.said(all[i]).call > v.acked })
	for ; i < len(all) && h.said(all[i]).call < v.bye; i++ {
		place := o.at[all[i]]
		if h.said(all[i]).end < v.bye && (place < first || place > last) {
			h.lab.violation("churner %d, on c%d from %d to %d ns, has not got %v, published %d to %d", number,
				v.channel, v.acked, v.bye, all[i], h.said(all[i]).call, h.said(all[i]).end)
			return
		}
	}
}
