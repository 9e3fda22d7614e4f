#!/usr/bin/env python3
"""How early could what has become slower be told at all?  Needs numpy.

  python3 oracle.py --seed 1 [--scale 1] [--rate 0.15] [--unknown] [--alerts alerts.jsonl]

For each event of a set of synth.py that is to be told: the delay of a Shiryaev-Roberts test (likelihood ratios against the
level before, added up over the onsets) that is given what no detector can know: level, cycle, the law of the noise, where runs resemble
their predecessors also which runs are outliers or of which mode, and the change itself but for its onset; with --unknown, any of
the generator's changes alike (steps by its five factors, ramps to these in 50, 100 and 200 points).  All share one
threshold, at which histories drawn from the laws of the events have --rate false alarms in 1000 points.
--alerts: those of a detector on the same set, to compare (made as evaluate.py says)."""
import argparse, math
import numpy as np
import synth, evaluate

HEALTHY=2000      # points drawn from the law of each event
BEFORE=150        # points before an event that are looked at
REACH=250         # onsets that are tried

class Law:
    """Distribution of what level and changes leave of a run's logarithm; without outliers and modes where runs resemble each other."""
    def __init__(self, s, law):
        self.sigma,self.tail,self.phi=s['sigma'],s['tail'],s['phi']
        self.modes,self.often,self.quant=(None,(0,0),0) if self.phi else (law['modes'],law['often'],law['quant'])
        step=self.sigma/40; half=int(6/step); z=np.arange(-half,half+1)*step; x=z/self.sigma
        if self.tail=='normal': f=np.exp(-x*x/2)
        elif self.tail=='t3': f=(1+x*x)**-2.0
        else: f=np.where(x>=-1,np.exp(-np.maximum(x,-1)-1),0)
        f/=f.sum()
        o=(z==0).astype(float); hi,lo=self.often
        def between(a,b,share): u=((z>=math.log(a))&(z<math.log(b)))*np.exp(z); return share*u/u.sum()
        o=o*(1-hi)*(1-lo)+(between(2,10,hi) if hi else 0)+(between(.02,.3,lo) if lo else 0)
        m=(z==0).astype(float)
        if self.modes: m=m*(1-self.modes[0])+(np.arange(len(z))==half+round(self.modes[1]/step))*self.modes[0]
        n=1<<(4*half).bit_length(); fft=lambda a: np.fft.rfft(a,n)
        whole=np.fft.irfft(fft(f)*fft(o)*fft(m),n)[2*half:][:2*half+1]
        self.step,self.half,self.logs=step,half,np.log(np.maximum(whole,1e-12)/step)
        self.below=np.cumsum(np.maximum(whole,0))
    def log(self, x, unit=0.0):
        """Density, or with units of rounding (as logarithms) the probability between them."""
        at=lambda y: np.clip(np.rint(y/self.step).astype(int)+self.half,0,2*self.half)
        if not self.quant: return self.logs[at(x)]
        return np.log(np.maximum(self.below[at(x+unit)]-self.below[at(x-unit)],1e-9))
    def draw(self, r, n):
        e=synth.noise_log(r,n,self.sigma,self.tail,self.phi)+synth.outliers_log(r,n,*self.often)
        return e+(np.where(r.random(n)<self.modes[0],self.modes[1],0) if self.modes else 0)

def innovations(x, phi):
    """What is new in x, along its last axis."""
    if not phi: return x
    first=np.concatenate([np.zeros_like(x[...,:1]),x[...,:-1]],axis=-1)
    return (x-phi*first)/math.sqrt(1-phi*phi)

def evidence(law, x, unit, templates):
    """Logarithm of the Shiryaev-Roberts statistic at each point."""
    new=innovations(x,law.phi); plain=law.log(new,unit); whole=np.full(len(x),-np.inf)
    for t in templates:
        moved=innovations(t,law.phi); sums=np.zeros(len(t))
        rows=law.log(new[:,None]-moved[None,:],unit if np.isscalar(unit) else unit[:,None])-plain[:,None]
        for i,row in enumerate(rows):
            sums[1:]=sums[:-1]; sums[0]=0; sums=sums+row
            top=sums[:i+1].max(); whole[i]=np.logaddexp(whole[i],top+np.log(np.exp(sums[:i+1]-top).sum()))
    return whole-math.log(len(templates))

def ramp(factor, length): return math.log(factor)*np.clip(np.arange(REACH)/length,0,1)
def step(factor): return np.full(REACH,math.log(factor))
def templates(event, is_unknown):
    if is_unknown: return [step(f) for f in synth.FACTORS]+[ramp(f,n) for f in synth.FACTORS for n in (50,100,200)]
    return [step(event['factor']) if event['kind']=='shift' else ramp(event['factor'],event['end']-event['start'])]

def paths(seed, scale, is_unknown):
    """Of each event: series, event, evidence from its start to the end of its window, evidence of a healthy history."""
    for fi,(family,k) in enumerate(synth.PLAN):
        for i in range(max(1,int(round(k*scale)))):
            law={}; s=synth.make(family,np.random.default_rng([seed,fi,i]),i,law)
            for start,end,kind,event in evaluate.windows(s,50):
                if kind!='must': continue
                known=Law(s,law); r=np.random.default_rng([seed,fi,i,start]); own=law['change']
                n=np.arange(s['n'])-start; f=math.log(event['factor'])
                change=f*(np.clip(n/(event['end']-start),0,1) if event['kind']=='drift' else (n>=0))
                others=own-change; first=max(0,start-BEFORE)
                if known.phi: x=law['noise']+change
                else: x=np.log(s['v'])-law['level']-others
                unit=known.quant/2/np.asarray(s['v'])
                tried=templates(event,is_unknown)
                told=evidence(known,x[first:end],unit[first:end] if known.quant else 0.0,tried)[start-first:]
                drawn=known.draw(r,HEALTHY); v=np.exp(np.median(law['level'])+drawn); unit=0.0
                if known.quant: w=np.maximum(1,np.round(v/known.quant)*known.quant); drawn=drawn+np.log(w/v); unit=known.quant/2/w
                yield s,event,told,evidence(known,drawn,unit,tried)

def false_alarms(path, threshold, merge=10):
    at=np.flatnonzero(path>=threshold); return 0 if not len(at) else 1+int((np.diff(at)>merge).sum())
def p90(delays): q=sorted(delays); return q[int(.9*(len(q)-1))] if q else None

def tell(name, delays, rows):
    told=[d for d in delays if d is not None]
    print(f"{name:34} recall {len(told)/len(delays):.3f} median {np.median(told):g} p90 {p90(told)} later than 20: {sum(d>20 for d in told)}")

if __name__=='__main__':
    a=argparse.ArgumentParser(); a.add_argument('--seed',type=int,default=1); a.add_argument('--scale',type=float,default=1.0)
    a.add_argument('--rate',type=float,default=.15); a.add_argument('--unknown',action='store_true'); a.add_argument('--alerts'); x=a.parse_args()
    all=list(paths(x.seed,x.scale,x.unknown)); points=HEALTHY*len(all)
    low,high=0.0,30.0
    for _ in range(30):
        mid=(low+high)/2
        if 1000*sum(false_alarms(h,mid) for *_,h in all)/points>x.rate: low=mid
        else: high=mid
    delays=[next(iter(np.flatnonzero(t>=high)),None) for _,_,t,_ in all]
    print(f"{len(all)} events; threshold {high:.2f}, {x.rate} false alarms in 1000 points")
    tell('oracle',delays,all)
    late=sum(d is None for d in delays)
    ours=None
    if x.alerts:
        A=evaluate.load_alerts(x.alerts); ours=[]
        of={s['id']:evaluate.score([s],A)[0] for s,*_ in all}
        ours=[next(d for e,d in of[s['id']]['det'] if e==event) for s,event,_,_ in all]
        tell('detector',ours,all)
        same=[o for o,d in zip(delays,ours) if d is not None]
        tell('oracle, what the detector tells',same,all)
        count=sum(d is not None for d in ours); quick=sorted(d for d in delays if d is not None)[:count]
        print(f"oracle, quickest {count} alone: p90 {p90(quick)}")
        tell('detector, drifts as the oracle',[o if e['kind']=='drift' else d for (_,e,*_),o,d in zip(all,delays,ours)],all)
        tell('oracle, drifts as the detector',[d if e['kind']=='drift' else o for (_,e,*_),o,d in zip(all,delays,ours)],all)
        tell('detector without drifts',[d for (_,e,*_),d in zip(all,ours) if e['kind']!='drift'],all)
    table={}
    for i,(s,e,*_) in enumerate(all):
        snr=e['snr']; table.setdefault((e['kind'],'<1' if snr<1 else '<1.5' if snr<1.5 else '<3' if snr<3 else '<6' if snr<6 else '>=6'),[]).append(i)
    for key,rows in sorted(table.items()):
        for name,who in (('oracle',delays),('detector',ours)):
            if who is None: continue
            told=[who[i] for i in rows if who[i] is not None]
            print(f"{key[0]:6} snr {key[1]:5} {name:9} {len(told):3} of {len(rows):3}, median {np.median(told) if told else '-'}, later than 20: {sum(d>20 for d in told)}")
