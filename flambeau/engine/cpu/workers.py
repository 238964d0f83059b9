"""The native part of the pool of threads: LLVM's text of its workers, of regions and of flights.

What it does is told in :mod:`flambeau.engine.cpu.threads`.
"""

from __future__ import annotations

import re

import llvmlite.binding as llvm

from flambeau.engine.cpu.compiler import with_clock

MOST = 64
"""Threads of a team, this one included."""
CPUS = 1024
"""CPUs that a thread can be kept from."""
PATIENCE = 20_000
"""Turns, some 40 ns each, that a worker spins at most."""

# Globals: @region is the number of the open region, 0 if there is none; @active counts the workers inside one;
# @home is the CPU of the thread that opened it, @allowed has the CPUs of this process (bits); @missed is the number of
# times that workers were of no use, less the times that they were, @until the time until which they are left alone.
# @flights and @landed count the flights that have been launched and that are over, @progress the kernels that the present
# one has run; @aloft is 1 meanwhile.
_IR = """
@limit = global i64 0
@started = global i64 0
@stop = global i64 0
@busy = global i64 0
@region = global i64 0
@last_region = global i64 0
@active = global i64 0
@sleeping = global i64 0
@helped = global i64 0
@missed = global i64 0
@until = global i64 0
@home = global i32 -1
@allowed = global [ CPU_WORDS x i64] zeroinitializer, align 64
@flights = global i64 0
@landed = global i64 0
@progress = global i64 0
@aloft = global i64 0
@flight_calls = global ptr null
@flight_count = global i64 0
@function = global ptr null
@context = global ptr null
@chunk = global i64 0
@team = global i64 0
@next = global [MOST x [8 x i64]] zeroinitializer, align 64
@end = global [MOST x [8 x i64]] zeroinitializer, align 64
@handles = global [MOST x i64] zeroinitializer
@mutex = global [16 x i64] zeroinitializer, align 64
@condition = global [16 x i64] zeroinitializer, align 64

declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @sched_yield()
declare void @flambeau_run(ptr, i64)
AFFINITY_DECLARATIONS
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
PAUSE_DECLARATION
CLOCK_DECLARATION

; Does chunks of all segments, those of thread %me first; returns how many.
define internal i64 @drain(i64 %me) {
entry:
  %function = load ptr, ptr @function
  %context = load ptr, ptr @context
  %chunk = load i64, ptr @chunk
  %team = load i64, ptr @team
  br label %segment
segment:
  %k = phi i64 [ 0, %entry ], [ %k1, %over ]
  %count0 = phi i64 [ 0, %entry ], [ %count, %over ]
  %sum = add i64 %me, %k
  %s = urem i64 %sum, %team
  %next = getelementptr [8 x i64], ptr @next, i64 %s
  %end.p = getelementptr [8 x i64], ptr @end, i64 %s
  %end = load i64, ptr %end.p
  br label %take
take:
  %count = phi i64 [ %count0, %segment ], [ %count1, %do ]
  %first = atomicrmw add ptr %next, i64 %chunk seq_cst
  %some = icmp slt i64 %first, %end
  br i1 %some, label %do, label %over
do:
  %beyond = add i64 %first, %chunk
  %last = call i64 @llvm.smin.i64(i64 %beyond, i64 %end)
  call void %function(ptr %context, i64 %first, i64 %last)
  %count1 = add i64 %count, 1
  br label %take
over:
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k1, %team
  br i1 %more, label %segment, label %exit
exit:
  ret i64 %count
}

; Whether thread %me, who took part in region %seen last, is wanted in one.
define internal i1 @wanted(i64 %me, i64 %seen) {
  %region = load atomic i64, ptr @region seq_cst, align 8
  %limit = load atomic i64, ptr @limit seq_cst, align 8
  %open = icmp ne i64 %region, 0
  %new = icmp ne i64 %region, %seen
  %member = icmp sle i64 %me, %limit
  %a = and i1 %open, %new
  %b = and i1 %a, %member
  ret i1 %b
}

; Takes part in the open region as thread %me, who took part in %seen last; returns the last one now.
define internal i64 @help(i64 %me, i64 %seen) {
entry:
  atomicrmw add ptr @active, i64 1 seq_cst
  %region = load atomic i64, ptr @region seq_cst, align 8
  %closed = icmp eq i64 %region, 0
  %known = icmp eq i64 %region, %seen
  %gone = or i1 %closed, %known
  br i1 %gone, label %late, label %join
late:
  atomicrmw sub ptr @active, i64 1 seq_cst
  ret i64 %seen
join:
  %team = load i64, ptr @team
  %member = icmp slt i64 %me, %team
  br i1 %member, label %work, label %leave
work:
  %done = call i64 @drain(i64 %me)
  atomicrmw add ptr @helped, i64 %done seq_cst
  br label %leave
leave:
  atomicrmw sub ptr @active, i64 1 seq_cst
  ret i64 %region
}

; Whether worker %me is to fly: the first one does.
define internal i1 @called(i64 %me) {
  %flights = load atomic i64, ptr @flights seq_cst, align 8
  %landed = load atomic i64, ptr @landed seq_cst, align 8
  %new = icmp ne i64 %flights, %landed
  %first = icmp eq i64 %me, 1
  %a = and i1 %new, %first
  ret i1 %a
}

define internal void @fly() {
entry:
  call void @part_from_home()
  %calls = load ptr, ptr @flight_calls
  %count = load i64, ptr @flight_count
  store i64 1, ptr @aloft
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i1, %body ]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %body, label %exit
body:
  %call = getelementptr [2 x ptr], ptr %calls, i64 %i
  %i1 = add i64 %i, 1
  call void @flambeau_run(ptr %call, i64 1)
  store atomic i64 %i1, ptr @progress seq_cst, align 8
  br label %head
exit:
  store i64 0, ptr @aloft
  %flights = load atomic i64, ptr @flights seq_cst, align 8
  store atomic i64 %flights, ptr @landed seq_cst, align 8
  ret void
}

define internal ptr @worker(ptr %id) {
entry:
  %me = ptrtoint ptr %id to i64
  call void @part_from_home()
  br label %wait
wait:
  %seen = phi i64 [ 0, %entry ], [ %seen, %awake ], [ %seen.next, %helping ], [ %seen, %flying ]
  %patience = phi i64 [ FEW_PAUSES, %entry ], [ %patience1, %awake ], [ %patience, %helping ], [ %patience, %flying ]
  %spun.from = CLOCK
  br label %spin
spin:
  %i = phi i64 [ 0, %wait ], [ %i1, %again ], [ %i1, %let ]
  %called = call i1 @called(i64 %me)
  br i1 %called, label %flying, label %look
look:
  %w = call i1 @wanted(i64 %me, i64 %seen)
  br i1 %w, label %helping, label %more
more:
  PAUSE
  %i1 = add i64 %i, 1
  %part = and i64 %i1, 255
  %whole = icmp eq i64 %part, 0
  br i1 %whole, label %let, label %again
let:
  call i32 @sched_yield()
  br label %spin
again:
  %tired = icmp uge i64 %i1, %patience
  br i1 %tired, label %sleep, label %spin
sleep:
  %slept.from = CLOCK
  call i32 @pthread_mutex_lock(ptr @mutex)
  atomicrmw add ptr @sleeping, i64 1 seq_cst
  br label %check
check:
  %w2 = call i1 @wanted(i64 %me, i64 %seen)
  %called2 = call i1 @called(i64 %me)
  %stop = load atomic i64, ptr @stop seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  %needed = or i1 %w2, %called2
  %up = or i1 %needed, %stopped
  br i1 %up, label %awake, label %block
block:
  call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %check
awake:
  %woken = CLOCK
  %slept = sub i64 %woken, %slept.from
  %spun = sub i64 %slept.from, %spun.from
  %one = udiv i64 %spun, %patience
  %window = mul i64 %one, MOST_PAUSES
  %soon = icmp ult i64 %slept, %window
  %patience1 = select i1 %soon, i64 MOST_PAUSES, i64 FEW_PAUSES
  atomicrmw sub ptr @sleeping, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br i1 %stopped, label %out, label %wait
helping:
  call void @part_from_home()
  %seen.next = call i64 @help(i64 %me, i64 %seen)
  br label %wait
flying:
  call void @fly()
  br label %wait
out:
  ret ptr null
}

; Moves this thread away from the CPU of the one that it helps, where there is another.
define internal void @part_from_home() {
entry:
  %home = load i32, ptr @home
  %cpu = call i32 @CURRENT_CPU()
  %same = icmp eq i32 %cpu, %home
  %known = icmp sge i32 %cpu, 0
  %small = icmp slt i32 %cpu, CPU_BITS
  %a = and i1 %same, %known
  %b = and i1 %a, %small
  br i1 %b, label %move, label %stay
move:
  %mask = alloca [ CPU_WORDS x i64 ]
  call void @llvm.memcpy.p0.p0.i64(ptr %mask, ptr @allowed, i64 CPU_BYTES, i1 false)
  %word = lshr i32 %cpu, 6
  %bit = and i32 %cpu, 63
  %bit64 = zext i32 %bit to i64
  %here = shl i64 1, %bit64
  %others = xor i64 %here, -1
  %place = getelementptr i64, ptr %mask, i32 %word
  %old = load i64, ptr %place
  %new = and i64 %old, %others
  store i64 %new, ptr %place
  call i32 @SET_AFFINITY(i32 0, i64 CPU_BYTES, ptr %mask)
  ret void
stay:
  ret void
}

; Sees to it that there are %limit workers.
define internal void @hire(i64 %limit) {
entry:
  br label %start
start:
  %started = load i64, ptr @started
  %enough = icmp sge i64 %started, %limit
  br i1 %enough, label %exit, label %more
more:
  %id = add i64 %started, 1
  store i64 %id, ptr @started
  %handle = getelementptr i64, ptr @handles, i64 %id
  %id.p = inttoptr i64 %id to ptr
  call i32 @pthread_create(ptr %handle, ptr null, ptr @worker, ptr %id.p)
  br label %start
exit:
  ret void
}

; Waits for a moment, or lets others run where that has been done many times (%i); returns how often it has been now.
define internal i64 @rest(i64 %i) {
  %i1 = add i64 %i, 1
  %long = icmp sgt i64 %i1, 2000
  br i1 %long, label %yield, label %pause
pause:
  PAUSE
  ret i64 %i1
yield:
  call i32 @sched_yield()
  ret i64 %i1
}

define internal void @wake() {
entry:
  %sleeping = load atomic i64, ptr @sleeping seq_cst, align 8
  %asleep = icmp ne i64 %sleeping, 0
  br i1 %asleep, label %call, label %exit
call:
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @condition)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  br label %exit
exit:
  ret void
}

define void @flambeau_parallel(ptr %function, ptr %context, i64 %tasks) {
entry:
  %limit = load atomic i64, ptr @limit seq_cst, align 8
  %none = icmp eq i64 %limit, 0
  %single = icmp slt i64 %tasks, 2
  %no = or i1 %none, %single
  br i1 %no, label %alone, label %try
try:
  %pair = cmpxchg ptr @busy, i64 0, i64 1 seq_cst seq_cst
  %mine = extractvalue { i64, i1 } %pair, 1
  br i1 %mine, label %consider, label %alone
alone:
  call void %function(ptr %context, i64 0, i64 %tasks)
  ret void
consider:
  %now = CLOCK
  %until = load i64, ptr @until
  %useless.now = icmp ult i64 %now, %until
  %aloft = load i64, ptr @aloft
  %grounded = icmp eq i64 %aloft, 0
  %skipping = and i1 %useless.now, %grounded
  br i1 %skipping, label %pass, label %locate
pass:
  store atomic i64 0, ptr @busy seq_cst, align 8
  br label %alone
locate:
  %home = call i32 @CURRENT_CPU()
  store i32 %home, ptr @home
  call void @hire(i64 %limit)
  br label %divide
divide:
  %all = add i64 %limit, 1
  %team = call i64 @llvm.smin.i64(i64 %all, i64 %tasks)
  %share = sdiv i64 %tasks, %team
  %share3 = add i64 %share, 3
  %quarter = sdiv i64 %share3, 4
  %chunk = call i64 @llvm.smax.i64(i64 %quarter, i64 1)
  store i64 %chunk, ptr @chunk
  store i64 %team, ptr @team
  store ptr %function, ptr @function
  store ptr %context, ptr @context
  store i64 0, ptr @helped
  br label %segment
segment:
  %s = phi i64 [ 0, %divide ], [ %s1, %segment ]
  %s1 = add i64 %s, 1
  %a = mul i64 %tasks, %s
  %first = sdiv i64 %a, %team
  %b = mul i64 %tasks, %s1
  %last = sdiv i64 %b, %team
  %next = getelementptr [8 x i64], ptr @next, i64 %s
  %end = getelementptr [8 x i64], ptr @end, i64 %s
  store i64 %first, ptr %next
  store i64 %last, ptr %end
  %more = icmp slt i64 %s1, %team
  br i1 %more, label %segment, label %open
open:
  %begin = CLOCK
  %old = load i64, ptr @last_region
  %number = add i64 %old, 1
  store i64 %number, ptr @last_region
  store atomic i64 %number, ptr @region seq_cst, align 8
  call void @wake()
  %ready = CLOCK
  call i64 @drain(i64 0)
  store atomic i64 0, ptr @region seq_cst, align 8
  %own.end = CLOCK
  br label %wait
wait:
  %i = phi i64 [ 0, %open ], [ %i1, %waiting ]
  %active = load atomic i64, ptr @active seq_cst, align 8
  %over = icmp eq i64 %active, 0
  br i1 %over, label %judging, label %waiting
waiting:
  %i1 = call i64 @rest(i64 %i)
  br label %wait
judging:
  br i1 %grounded, label %judge, label %done
judge:
  %helped = load atomic i64, ptr @helped seq_cst, align 8
  %useless = icmp eq i64 %helped, 0
  %end.all = CLOCK
  %own = sub i64 %own.end, %begin
  %waited = sub i64 %end.all, %own.end
  %half = lshr i64 %own, 1
  %slow = icmp ugt i64 %waited, %half
  %woke = sub i64 %ready, %begin
  %cost1 = select i1 %slow, i64 %waited, i64 0
  %some = call i64 @llvm.smin.i64(i64 %woke, i64 %own)
  %cost2 = select i1 %useless, i64 %some, i64 0
  %cost = add i64 %cost1, %cost2
  %bad = or i1 %useless, %slow
  %missed0 = load i64, ptr @missed
  %worse = add i64 %missed0, 1
  %better = sub i64 %missed0, 1
  %worse1 = call i64 @llvm.smin.i64(i64 %worse, i64 5)
  %better1 = call i64 @llvm.smax.i64(i64 %better, i64 0)
  %missed = select i1 %bad, i64 %worse1, i64 %better1
  store i64 %missed, ptr @missed
  %times = add i64 %missed, 2
  %penalty = shl i64 %cost, %times
  %until.next = add i64 %end.all, %penalty
  store i64 %until.next, ptr @until
  br label %done
done:
  store atomic i64 0, ptr @busy seq_cst, align 8
  ret void
}

define void @flambeau_parallel_light(ptr %function, ptr %context, i64 %tasks) {
  %sleeping = load atomic i64, ptr @sleeping seq_cst, align 8
  %awake = icmp eq i64 %sleeping, 0
  br i1 %awake, label %together, label %alone
together:
  call void @flambeau_parallel(ptr %function, ptr %context, i64 %tasks)
  ret void
alone:
  call void %function(ptr %context, i64 0, i64 %tasks)
  ret void
}

; Has a worker make those of the first %count calls of %state (see flambeau_drive) that have not been made, which count as made
; from now on, and returns at once. No flight is aloft, and there may be workers.
define void @flambeau_launch(ptr %state, i64 %count) {
entry:
  %all = load ptr, ptr %state
  %done.p = getelementptr i64, ptr %state, i64 1
  %done = load i64, ptr %done.p
  %left = sub i64 %count, %done
  %some = icmp sgt i64 %left, 0
  br i1 %some, label %launch, label %exit
launch:
  store i64 %count, ptr %done.p
  %calls = getelementptr [2 x ptr], ptr %all, i64 %done
  %home = call i32 @CURRENT_CPU()
  store i32 %home, ptr @home
  call void @hire(i64 1)
  store ptr %calls, ptr @flight_calls
  store i64 %left, ptr @flight_count
  store atomic i64 0, ptr @progress seq_cst, align 8
  atomicrmw add ptr @flights, i64 1 seq_cst
  call void @wake()
  br label %exit
exit:
  ret void
}

; Waits until the flight has run %enough kernels or is over, and helps with its regions; then stores 1 to %over. It comes back
; without that when some time has passed, so that Python can run signal handlers.
define void @flambeau_land(ptr %over, i64 %enough) {
entry:
  %begin = CLOCK
  br label %look
look:
  %seen = phi i64 [ 0, %entry ], [ %seen, %waiting ], [ %seen.next, %helping ]
  %i = phi i64 [ 0, %entry ], [ %i1, %waiting ], [ 0, %helping ]
  %aloft = call i1 @called(i64 1)
  br i1 %aloft, label %check, label %exit
check:
  %progress = load atomic i64, ptr @progress seq_cst, align 8
  %far = icmp sge i64 %progress, %enough
  br i1 %far, label %exit, label %work
work:
  %w = call i1 @wanted(i64 1, i64 %seen)
  br i1 %w, label %helping, label %waiting
helping:
  %seen.next = call i64 @help(i64 1, i64 %seen)
  br label %look
waiting:
  %i1 = call i64 @rest(i64 %i)
  %now = CLOCK
  %spent = sub i64 %now, %begin
  %long = icmp ugt i64 %spent, SLICE
  br i1 %long, label %early, label %look
exit:
  store i64 1, ptr %over
  ret void
early:
  ret void
}

; No region is open when this is called: for the child of a fork, and at the start.
define void @flambeau_threads_reset() {
  store i64 0, ptr @started
  store i64 0, ptr @stop
  store i64 0, ptr @busy
  store i64 0, ptr @region
  store i64 0, ptr @active
  store i64 0, ptr @sleeping
  store i64 0, ptr @missed
  store i64 0, ptr @until
  store i64 0, ptr @flights
  store i64 0, ptr @landed
  store i64 0, ptr @aloft
  call i32 @GET_AFFINITY(i32 0, i64 CPU_BYTES, ptr @allowed)
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @condition, ptr null)
  ret void
}

define void @flambeau_threads_limit(i64 %workers) {
  store atomic i64 %workers, ptr @limit seq_cst, align 8
  ret void
}

define void @flambeau_threads_stop() {
entry:
  store atomic i64 0, ptr @limit seq_cst, align 8
  store atomic i64 1, ptr @stop seq_cst, align 8
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @condition)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  %started = load i64, ptr @started
  br label %head
head:
  %i = phi i64 [ 1, %entry ], [ %i1, %body ]
  %more = icmp sle i64 %i, %started
  br i1 %more, label %body, label %exit
body:
  %place = getelementptr i64, ptr @handles, i64 %i
  %handle = load i64, ptr %place
  call i32 @pthread_join(i64 %handle, ptr null)
  %i1 = add i64 %i, 1
  br label %head
exit:
  store i64 0, ptr @started
  ret void
}
"""

# By kind of CPU: what tells it that a thread is spinning.
_PAUSES = {"x86_64": ("void", "llvm.x86.sse2.pause", ""), "aarch64": ("void", "llvm.aarch64.hint", "i32 1")}
_AFFINITY = """
declare i32 @sched_getcpu()
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i32 @sched_setaffinity(i32, i64, ptr)
"""


def runtime(triple: str | None = None) -> str:
    """The module for a machine, or this one; without a clock no wait counts as long, without affinities no thread is moved."""
    triple = triple or llvm.get_process_triple()
    kind, ir = triple.split("-")[0], with_clock(_IR, triple)
    type, name, argument = _PAUSES.get(kind, ("", "", ""))
    ir = ir.replace("PAUSE_DECLARATION", f"declare {type} @{name}({argument.partition(' ')[0]})" if name else "")
    ir = ir.replace("PAUSE\n", f"call {type} @{name}({argument})\n" if name else "\n")
    linux = "linux" in triple
    ir = ir.replace("AFFINITY_DECLARATIONS", _AFFINITY if linux else "")
    for word, name in (("CURRENT_CPU", "getcpu"), ("GET_AFFINITY", "getaffinity"), ("SET_AFFINITY", "setaffinity")):
        ir = re.sub(rf"call i32 @{word}(\(.*\))", rf"call i32 @sched_{name}\1" if linux else "add i32 0, -1", ir)
    numbers = {"CPU_WORDS": CPUS // 64, "CPU_BYTES": CPUS // 8, "CPU_BITS": CPUS, "MOST_PAUSES": PATIENCE, "FEW_PAUSES": 700}
    for word, number in {**numbers, "MOST": MOST}.items():
        ir = ir.replace(word, str(number))
    return ir
