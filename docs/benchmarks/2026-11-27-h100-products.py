"""What the products of one decoding step cost on a GPU by themselves: microseconds of each, by rows, in the shape of
DeepSeek-R1-Distill-Qwen-1.5B; 28 layers of weights in turn, in one CUDA graph. Needs PyTorch with CUDA."""

import torch,math
dev='cuda'; bf=torch.bfloat16
def graph_time(f,n=28,reps=20):
    s=torch.cuda.Stream()
    with torch.cuda.stream(s):
        for _ in range(2): f()
    torch.cuda.synchronize()
    g=torch.cuda.CUDAGraph()
    with torch.cuda.graph(g): f()
    for _ in range(3): g.replay()
    a,b=torch.cuda.Event(True),torch.cuda.Event(True)
    a.record()
    for _ in range(reps): g.replay()
    b.record(); torch.cuda.synchronize()
    return a.elapsed_time(b)/reps/n*1000
W=lambda o,i:[torch.randn(o,i,device=dev,dtype=bf)*0.02 for _ in range(28)]
qkv,o,gu,down=W(2048,1536),W(1536,1536),W(17920,1536),W(1536,8960)
bias=torch.randn(2048,device=dev,dtype=bf); nw=torch.ones(1536,device=dev,dtype=bf)
head=torch.randn(151936,1536,device=dev,dtype=bf)*0.02
res={}
for m in (1,4,16,64,96,256):
    x=torch.randn(m,1536,device=dev,dtype=bf); y=torch.randn(m,8960,device=dev,dtype=bf); r=torch.randn(m,1536,device=dev,dtype=bf)
    def loop(f): return lambda: [f(i) for i in range(28)]
    t={}
    t['norm']=graph_time(loop(lambda i: torch.nn.functional.rms_norm(x,(1536,),nw,1e-6)))
    t['qkv']=graph_time(loop(lambda i: torch.addmm(bias,x,qkv[i].t())))
    t['o']=graph_time(loop(lambda i: r.addmm_(x,o[i].t(),alpha=1e-3)))
    t['gu']=graph_time(loop(lambda i: torch.mm(x,gu[i].t())))
    t['down']=graph_time(loop(lambda i: r.addmm_(y,down[i].t(),alpha=1e-3)))
    t['add']=graph_time(loop(lambda i: x.add_(1e-6)))
    h=torch.randn(m,1536,device=dev,dtype=bf)
    try: t['head']=graph_time(lambda: torch.mm(h,head.t(),out_dtype=torch.float32),n=1)
    except Exception as e: t['head']=float('nan')
    print(m,' '.join('%s %.1f'%(k,v) for k,v in t.items()),flush=True)
