"""Who wrote the papers, by arXiv number, as the paper or its page on arXiv names them.

A paper is not here where that could not be read: its entry then has no authors. `TITLES` are those that a config
shortens, or puts a name before.
"""

AUTHORS: dict[str, str] = {
    "1703.01780": "Antti Tarvainen, Harri Valpola",
    "1802.07569": "German I. Parisi, Ronald Kemker, Jose L. Part, Christopher Kanan, Stefan Wermter",
    "1804.05938": "Qingyao Ai, Keping Bi, Cheng Luo, Jiafeng Guo, W. Bruce Croft",
    "1910.05872": "Hankook Lee, Sung Ju Hwang, Jinwoo Shin",
    "1910.07224": "R. Portelas, C. Colas, K. Hofmann, P.-Y. Oudeyer",
    "2103.03230": "Jure Zbontar, Li Jing, Ishan Misra, Yann LeCun, Stéphane Deny",
    "2202.05531": "H. Toprak Kesgin, M. Fatih Amasyali",
    "2207.01426": "Jun Rao, Liang Ding, Shuhan Qi, Meng Fang, Yang Liu, Li Shen, Dacheng Tao",
    "2211.15470": "Parantak Singh, You Li, Ankur Sikarwar, Weixian Lei, Daniel Gao, Morgan Bruce Talbot, Ying Sun, "
    "Mike Zheng Shou, Gabriel Kreiman, Mengmi Zhang",
    "2212.12712": "Saeed Vahidian, Sreevatsank Kadaveru, Woonjoon Baek, Weijia Wang, Vyacheslav Kungurtsev, Chen Chen, "
    "Mubarak Shah, Bill Lin",
    "2301.00810": "Andreea Bobu, Yi Liu, Rohin Shah, Daniel S. Brown, Anca D. Dragan",
    "2302.12091": "Felix Sarnthein, Gregor Bachmann, Sotiris Anagnostidis, Thomas Hofmann",
    "2303.14771": "Nader Asadi, MohammadReza Davari, Sudhir Mudur, Rahaf Aljundi, Eugene Belilovsky",
    "2304.01464": "Chuandong Liu, Chenqiang Gao, Fangcen Liu, Pengcheng Li, Deyu Meng, Xinbo Gao",
    "2305.17007": "Yuzhu Wang, Lechao Cheng, Manni Duan, Yongheng Wang, Zunlei Feng, Shu Kong",
    "2309.16633": "Yilei Wu, Zijian Dong, Chongyao Chen, Wangchunshu Zhou, Juan Helen Zhou",
    "2310.02575": "Enneng Yang, Zhenyi Wang, Li Shen, Shiwei Liu, Guibing Guo, Xingwei Wang, Dacheng Tao",
    "2310.03188": "Zhe Zhao, Qingyun Liu, Huan Gui, Bang An, Lichan Hong, Ed H. Chi",
    "2310.05615": "Lei Wang, Piotr Koniusz, Tom Gedeon, Liang Zheng",
    "2312.02151": "Wele Gedara Chaminda Bandara, Celso M. De Melo, Vishal M. Patel",
    "2312.15112": "Chengming Hu, Haolun Wu, Xuan Li, Chen Ma, Xi Chen, Jun Yan, Boyu Wang, Xue Liu",
    "2401.08732": "Linfeng Ye, Shayan Mohajer Hamidi, Renhao Tan, En-Hui Yang",
    "2401.10393": "Atith Gandhi, Raj Sanjay Shah, Vijay Marupudi, Sashank Varma",
    "2402.03300": "Zhihong Shao, Peiyi Wang, Qihao Zhu, Runxin Xu, Junxiao Song, Xiao Bi, Haowei Zhang, "
    "Mingchuan Zhang, Y. K. Li, Y. Wu, Daya Guo",
    "2402.03776": "Shahriar Golchin, Nikhil Garuda, Christopher Impey, Matthew Wenger",
    "2403.03145": "Yuxin Guo, Shijie Ma, Hu Su, Zhiqing Wang, Yuhao Zhao, Wei Zou, Siyang Sun, Yun Zheng",
    "2403.13249": "Zhenyi Wang, Yan Li, Li Shen, Heng Huang",
    "2406.14568": "Mehmet Can Yavuz, Yang Yang",
    "2407.11216": "Hoonhee Cho, Sung-Hoon Yoon, Hyeokjun Kweon, Kuk-Jin Yoon",
    "2411.08937": "Penghui Yang, Chen-Chen Zong, Sheng-Jun Huang, Lei Feng, Bo An",
    "2501.01245": "Yongle Huang, Haodong Chen, Zhenbang Xu, Zihan Jia, Haozhou Sun, Dian Shao",
    "2502.02671": "Daniil Tiapkin, Daniele Calandriello, Johan Ferret, Sarah Perrin, Nino Vieillard, Alexandre Ramé, "
    "Mathieu Blondel",
    "2505.03538": "Chuyu Zhao, Hao Huang, Jiashuo Guo, Ziyu Shen, Zhongwei Zhou, Jie Liu, Zekuan Yu",
    "2505.08364": "Enci Zhang, Xingang Yan, Wei Lin, Tianxiang Zhang, Qianchun Lu",
    "2505.14970": "Xiaoyin Chen, Jiarui Lu, Minsu Kim, Dinghuai Zhang, Jian Tang, Alexandre Piché, Nicolas Gontier, "
    "Yoshua Bengio, Ehsan Kamalloo",
    "2505.18116": "Huayu Chen, Kaiwen Zheng, Qinsheng Zhang, Ganqu Cui, Yin Cui, Haotian Ye, Tsung-Yi Lin, "
    "Ming-Yu Liu, Jun Zhu, Haoxiang Wang",
    "2505.24760": "Zafir Stojanovski, Oliver Stanley, Joe Sharratt, Richard Jones, Abdulhakeem Adefioye, Jean Kaddour, "
    "Andreas Köpf",
    "2506.02208": "Hongling Xu, Qi Zhu, Heyuan Deng, Jinpeng Li, Lu Hou, Yasheng Wang, Lifeng Shang, Ruifeng Xu, "
    "Fei Mi",
    "2506.12542": "Ejafa Bassam, Dawei Zhu, Kaigui Bian",
    "2507.06979": "Panagiotis Koromilas, Efthymios Georgiou, Giorgos Bouritsas, Theodoros Giannakopoulos, "
    "Mihalis A. Nicolaou, Yannis Panagakis",
    "2507.17512": "Yu Li, Zhuoshi Pan, Honglin Lin, Mengyuan Sun, Conghui He, Lijun Wu",
    "2508.05953": "Keyang Qian, Kaixun Yang, Wei Dai, Flora Jin, Yixin Cheng, Rui Guan, Sadia Nawaz, Zachari Swiecki, "
    "Guanliang Chen, Lixiang Yan, Dragan Gašević",
    "2508.07616": "Aswin RRV, Jacob Dineen, Divij Handa, Md Nayem Uddin, Mihir Parmar, Chitta Baral, Ben Zhou",
    "2509.22115": "Chao Wang, Tao Yang, Hongtao Tian, Yunsheng Shi, Qiyao Ma, Xiaotao Liu, Ting Yao, Wenbo Ding",
}
TITLES: dict[str, str] = {
    "1703.01780": "Mean teachers are better role models: Weight-averaged consistency targets improve semi-supervised "
    "deep learning results",
    "2202.05531": "Cyclical Curriculum Learning",
    "2207.01426": "Dynamic Contrastive Distillation for Image-Text Retrieval",
    "2309.15038": "HPCR: Holistic Proxy-based Contrastive Replay for Online Continual Learning",
    "2310.03188": "Talking Models: Distill Pre-trained Knowledge to Downstream Models via Interactive Communication",
    "2402.03300": "DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models",
}
